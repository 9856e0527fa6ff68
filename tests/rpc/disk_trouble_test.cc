// A coordinator whose disk is full for a while, or whose journal ends in a torn write, in real
// processes: it acknowledges nothing that is not safe, and goes on once there is room.
#include <filesystem>
#include <fstream>

#include "tests/rpc/actors/actors.h"
#include "tests/rpc/actors/killing_file_system.h"
#include "tests/rpc/actors/trap.h"
#include "tests/rpc/processes.h"
#include <gtest/gtest.h>

#include "rubato/base/rng.h"

namespace rubato {
namespace {

constexpr int kWorkers = 3;

class DiskTroubleTest : public testing::Test {
 protected:
  void SetUp() override {
    cluster_.start_coordinator();
    cluster_.start_workers();
    ASSERT_TRUE(cluster_.wait_for_progress(6));
  }

  void fill(const char* mark) { std::ofstream(cluster_.path(mark)) << mark; }
  void make_room(const char* mark) { std::filesystem::remove(cluster_.path(mark)); }
  // Until the disk was found full so many times more.
  bool wait_for_hits(int64_t more) {
    const int64_t before = std::ssize(cluster_.lines("full"));
    return cluster_.wait_until("a full disk",
                               [&] { return std::ssize(cluster_.lines("full")) >= before + more; });
  }
  std::string last_segment() const {
    std::string last;
    for (const auto& entry : std::filesystem::directory_iterator(cluster_.path("journal")))
      last = std::max(last, entry.path().string());
    return last;
  }
  void expect_sound_run() {
    const Facts result = cluster_.stop_coordinator();
    const Facts replayed = cluster_.replay();
    expect_same_state(result, replayed);
    expect_applied(replayed, cluster_.acknowledged());
  }

  ClusterProcesses cluster_{"disk", {{"gate", "grace"}}, kWorkers};
};

TEST_F(DiskTroubleTest, AFullSpoolHoldsUploadsBack) {
  const int64_t before = std::ssize(cluster_.acknowledged());
  fill(kFullSpoolMark);
  ASSERT_TRUE(wait_for_hits(2 * kWorkers));
  // Each worker's last delta may have been in before.
  EXPECT_LE(std::ssize(cluster_.acknowledged()), before + kWorkers);
  EXPECT_FALSE(cluster_.coordinator().ended());
  make_room(kFullSpoolMark);
  ASSERT_TRUE(cluster_.wait_for_progress(6));
  expect_sound_run();
}

TEST_F(DiskTroubleTest, AFullJournalEndsTheCoordinatorAndLosesNothing) {
  fill(kFullJournalMark);
  const Exit first = cluster_.coordinator().wait();
  EXPECT_EQ(first.code, kActorFailed);
  EXPECT_EQ(first.signal, 0);
  const std::set<int64_t> before = cluster_.acknowledged();
  // As long as there is no room, another start does not help and does no harm.
  cluster_.start_coordinator();
  EXPECT_EQ(cluster_.coordinator().wait().code, kActorFailed);
  EXPECT_EQ(cluster_.acknowledged(), before);
  make_room(kFullJournalMark);
  cluster_.start_coordinator();
  ASSERT_TRUE(cluster_.wait_for_progress(6));
  expect_sound_run();
}

TEST_F(DiskTroubleTest, ATornJournalIsCut) {
  Rng draws(22, RngStream::kTest);
  for (int i = 0; i < 3; ++i) {
    // Half of a write, less a few bytes.
    cluster_.kill_coordinator();
    cluster_.start_coordinator(cat(phase::kMidJournal, ":2"));
    cluster_.coordinator().wait();
    std::filesystem::resize_file(last_segment(),
                                 std::filesystem::file_size(last_segment()) - draws.below(8));
    cluster_.start_coordinator();
    ASSERT_TRUE(cluster_.wait_for_progress(3));
    // What no journal wrote.
    cluster_.kill_coordinator();
    std::ofstream segment(last_segment(), std::ios::app | std::ios::binary);
    for (uint64_t bytes = 1 + draws.below(200); bytes > 0; --bytes)
      segment.put(static_cast<char>(draws.below(256)));
    segment.close();
    cluster_.start_coordinator();
    ASSERT_TRUE(cluster_.wait_for_progress(3));
  }
  EXPECT_EQ(std::ssize(cluster_.lines("kills")), 3);
  const auto says_so = [](const std::string& line) {
    return line.starts_with("note: cut a torn write of ");
  };
  EXPECT_GE(std::ranges::count_if(cluster_.lines("coordinator.log"), says_so), 3);
  expect_sound_run();
}

}  // namespace
}  // namespace rubato
