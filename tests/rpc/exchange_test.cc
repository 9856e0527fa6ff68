// Bulk between real ends over real sockets: what a cut connection costs, which connection carries
// what, and messages above 2 GiB.
#include <algorithm>
#include <fstream>

#include "tests/rpc/cluster_rig.h"
#include "tests/rpc/exchange_rig.h"
#include "tests/rpc/tcp_relay.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr int64_t kParams = 6'000'000;
constexpr int64_t kBytes = 4 * kParams;
// Frames, headers of HTTP/2, checksums, the messages around a transfer.
constexpr int64_t kAround = kBytes / 100;

TEST(Exchange, APushThatWasCutGoesOnWhereItWas) {
  ExchangeRig rig({.directory = fresh_directory("cut-push"), .num_params = kParams});
  TcpRelay relay(rig.port());
  SyntheticWorker worker(rig.admit(relay.address()), kParams);
  const v1::Task task = worker.next_task();
  const int64_t cut_at = kBytes / 2;
  relay.cut_after(Direction::kUp, cut_at);
  const auto verdict = worker.push(task, constant_delta(kParams, 1e-3f));
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->kind, UpdateVerdict::Kind::kApplied);
  ASSERT_TRUE(relay.has_cut());

  ASSERT_EQ(worker.tries().size(), 2u);
  EXPECT_EQ(worker.tries()[0], 0);
  const int64_t went_on_at = worker.tries()[1];
  // What the coordinator held was not sent again; only what was on its way when the line was cut.
  EXPECT_GT(went_on_at, cut_at / 2);
  EXPECT_LE(relay.traffic().back().bytes_up, kBytes - went_on_at + kAround);
}

TEST(Exchange, AFetchThatWasCutGoesOnWhereItWas) {
  ExchangeRig rig({.directory = fresh_directory("cut-fetch"), .num_params = kParams});
  TcpRelay relay(rig.port());
  SyntheticWorker worker(rig.admit(relay.address()), kParams);
  const v1::Task task = worker.next_task();
  const int64_t cut_at = kBytes / 2;
  relay.cut_after(Direction::kDown, cut_at);
  std::vector<float> values(static_cast<size_t>(kParams));
  const Status status = worker.fetch(task.fragments(0).base_version(), values);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(std::ranges::count(values, 0.5f), kParams);
  ASSERT_TRUE(relay.has_cut());

  ASSERT_EQ(worker.tries().size(), 2u);
  const int64_t went_on_at = worker.tries()[1];
  EXPECT_GT(went_on_at, cut_at / 2);
  EXPECT_LE(relay.traffic().back().bytes_down, kBytes - went_on_at + kAround);
}

TEST(Exchange, ControlAndBulkTravelOnConnectionsOfTheirOwn) {
  ExchangeRig rig({.directory = fresh_directory("sockets"), .num_params = kParams});
  TcpRelay relay(rig.port());
  SyntheticWorker worker(rig.admit(relay.address()), kParams);
  EXPECT_EQ(relay.traffic().size(), 1u);  // control alone
  const v1::Task task = worker.next_task();
  ASSERT_TRUE(worker.push(task, constant_delta(kParams, 1e-3f)).ok());
  std::vector<float> values(static_cast<size_t>(kParams));
  ASSERT_TRUE(worker.fetch(worker.next_task().fragments(0).base_version(), values).ok());

  const std::vector<TcpRelay::Traffic> traffic = relay.traffic();
  ASSERT_EQ(traffic.size(), 2u);
  const auto& [control, bulk] = std::tie(traffic[0], traffic[1]);
  EXPECT_TRUE(control.open && bulk.open);
  EXPECT_LT(control.bytes_up + control.bytes_down, 100'000);
  EXPECT_GT(bulk.bytes_up, kBytes);
  EXPECT_GT(bulk.bytes_down, kBytes);
  EXPECT_LE(bulk.bytes_up, kBytes + kAround);
  EXPECT_LE(bulk.bytes_down, kBytes + kAround);
}

int64_t available_memory_bytes() {
  std::ifstream memory("/proc/meminfo");
  for (std::string line; std::getline(memory, line);) {
    if (line.starts_with("MemAvailable:")) return std::stoll(line.substr(13)) * 1024;
  }
  return 0;
}

// No size is kept in 32 bits, no message is limited.
TEST(Exchange, MoreThanTwoGibTravelBothWays) {
  constexpr int64_t kManyParams = 560'000'000;
  static_assert(4 * kManyParams > int64_t{1} << 31);
  // Theta, its published copy, the delta, what was fetched, and as much again for the page cache.
  if (available_memory_bytes() < 8 * 4 * kManyParams / 2 + (int64_t{1} << 30))
    GTEST_SKIP() << "wants 10 GB of memory";
  ExchangeRig rig({.directory = fresh_directory("two-gib"), .num_params = kManyParams});
  SyntheticWorker worker(rig.admit(cat("127.0.0.1:", rig.port())), kManyParams);
  const v1::Task task = worker.next_task();
  Encoding delta = constant_delta(kManyParams, 1e-6f);
  const auto verdict = worker.push(task, delta);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->kind, UpdateVerdict::Kind::kApplied);
  delta.reset();
  const v1::Task next = worker.next_task();
  std::vector<float> values(static_cast<size_t>(kManyParams));
  const Status status = worker.fetch(next.fragments(0).base_version(), values);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_NE(values.front(), 0.5f);
  EXPECT_EQ(std::ranges::count(values, values.front()), kManyParams);
}

}  // namespace
}  // namespace rubato
