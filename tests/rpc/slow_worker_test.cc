// A worker that is stopped (SIGSTOP) and one that is dead, in real processes: the others go on, and
// the stopped one joins them when it wakes up.
#include <algorithm>
#include <csignal>

#include "tests/rpc/processes.h"
#include <gtest/gtest.h>

#include "rubato/base/text.h"

namespace rubato {
namespace {

constexpr int kStopped = 0, kDead = 1, kWorkers = 4;
constexpr int64_t kMore = 8;  // updates that each of the others is to make meanwhile

struct Scenario {
  const char* name;
  const char* gate;
  bool lease_runs_out;
};

class SlowWorkerTest : public testing::TestWithParam<Scenario> {
 protected:
  int64_t count(int worker) const { return std::ssize(cluster_.acknowledged(worker)); }
  bool wait_for_each(int first, int64_t more) {
    std::vector<int64_t> before;
    for (int i = 0; i < kWorkers; ++i) before.push_back(count(i));
    return cluster_.wait_until(cat(more, " updates of each worker from ", first), [&] {
      for (int i = first; i < kWorkers; ++i) {
        if (count(i) < before[static_cast<size_t>(i)] + more) return false;
      }
      return true;
    });
  }
  bool has_lost(int worker) const {
    const std::string note = cat("note: worker ", worker, " is lost");
    return std::ranges::any_of(cluster_.lines("coordinator.log"),
                               [&](const std::string& line) { return line.starts_with(note); });
  }

  ClusterProcesses cluster_{
      cat("slow-", GetParam().name),
      {{"gate", GetParam().gate}, {"lease_ms", GetParam().lease_runs_out ? "1000" : "60000"}},
      kWorkers};
};

TEST_P(SlowWorkerTest, DelaysNobody) {
  cluster_.start_coordinator();
  cluster_.start_workers();
  ASSERT_TRUE(wait_for_each(0, 1));

  cluster_.worker(kStopped).signal(SIGSTOP);
  cluster_.worker(kDead).signal(SIGKILL);
  EXPECT_EQ(cluster_.worker(kDead).wait().signal, SIGKILL);
  const int64_t stopped_with = count(kStopped);
  ASSERT_TRUE(wait_for_each(kDead + 1, kMore));
  if (GetParam().lease_runs_out) {
    ASSERT_TRUE(cluster_.wait_until("the end of both leases",
                                    [&] { return has_lost(kStopped) && has_lost(kDead); }));
    // Somebody else makes what the two have not.
    ASSERT_TRUE(wait_for_each(kDead + 1, kMore));
  } else {
    EXPECT_FALSE(has_lost(kStopped) || has_lost(kDead));
  }
  EXPECT_EQ(count(kStopped), stopped_with);

  cluster_.worker(kStopped).signal(SIGCONT);
  ASSERT_TRUE(cluster_.wait_until("the stopped worker's updates",
                                  [&] { return count(kStopped) >= stopped_with + 3; }));
  const Facts result = cluster_.stop_coordinator();
  const Facts replayed = cluster_.replay();
  expect_same_state(result, replayed);
  expect_applied(replayed, cluster_.acknowledged());
}

INSTANTIATE_TEST_SUITE_P(Gates, SlowWorkerTest,
                         testing::Values(Scenario{"free", "free", false},
                                         Scenario{"grace", "grace", false},
                                         Scenario{"lost", "free", true}),
                         [](const auto& scenario) { return std::string(scenario.param.name); });

}  // namespace
}  // namespace rubato
