// Bits: threads never change them, and a run that was stopped, saved, restored and continued ends
// on the same ones.
#include <atomic>

#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

#include "rubato/base/digest.h"

namespace rubato {
namespace {

SimulationConfig short_config() {
  SimulationConfig config = toy_config();
  config.coordinator.budget_steps = 1200;
  config.coordinator.schedule_steps = 1200;
  config.policy = {"dylu", {}};
  return config;
}

TEST(Determinism, ThreadsNeverChangeABit) {
  const auto workload = quadratic_workload("adamw");
  SimulationConfig config = short_config();
  std::vector<std::string> digests;
  for (int threads : {1, 2, 3}) {
    config.threads = threads;
    digests.push_back(digest_of(run_to_end(config, *workload).theta));
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_EQ(digests[0], digests[2]);
}

// Stops after `arrivals`, moves everything into a new simulation through a state image, goes on to
// the end.
std::vector<float> interrupted_run(const SimulationConfig& config, const Workload& workload,
                                   int arrivals) {
  std::vector<float> theta(static_cast<size_t>(workload.layout().size()));
  workload.initialise(1, theta);
  MemorySink sink;
  auto first = Simulation::make(config, workload, theta, sink);
  EXPECT_TRUE(first.ok());
  std::atomic<bool> stop{false};
  int seen = 0;
  SimulationHooks hooks;
  hooks.stop = &stop;
  hooks.progress = [&](const SimulationProgress&) { stop = ++seen >= arrivals; };
  const auto reason = (*first)->run(hooks);
  EXPECT_TRUE(reason.ok() && *reason == StopReason::kStopped);
  StateImage image;
  StateSaver saver(image);
  (*first)->walk_state(saver);
  theta.assign((*first)->theta().begin(), (*first)->theta().end());
  first->reset();

  auto second = Simulation::make(config, workload, std::vector<float>(theta.size()), sink);
  EXPECT_TRUE(second.ok());
  (*second)->restore_theta(theta);
  StateRestorer restorer(image);
  (*second)->walk_state(restorer);
  EXPECT_TRUE(restorer.status().ok()) << restorer.status();
  EXPECT_TRUE((*second)->run({}).ok());
  return std::vector<float>((*second)->theta().begin(), (*second)->theta().end());
}

TEST(Resume, AStoppedRunEndsOnTheBitsOfAnUninterruptedOne) {
  const auto workload = quadratic_workload("adamw");
  for (const char* gate : {"grace", "free", "barrier"}) {
    SimulationConfig config = short_config();
    config.gate = {gate, {}};
    config.threads = 2;
    const std::string whole = digest_of(run_to_end(config, *workload).theta);
    for (int arrivals : {1, 2, 7, 20}) {
      EXPECT_EQ(digest_of(interrupted_run(config, *workload, arrivals)), whole)
          << gate << " after " << arrivals;
    }
  }
}

TEST(Fleet, AWorkerThatLeavesAndReturnsLosesNothingOfTheData) {
  SimulationConfig config = short_config();
  config.fleet[0].leave_at = from_seconds(25);
  config.fleet[0].return_at = from_seconds(60);
  config.fleet[2].join_at = from_seconds(10);
  config.worker.inner_rewarm_steps = 10;
  const auto workload = quadratic_workload("adamw");
  const SimRun run = run_to_end(config, *workload);
  EXPECT_EQ(run.counts.lost, 1);
  EXPECT_GE(run.counts.steps, 1200);
  const SimRun again = run_to_end(config, *workload);
  EXPECT_EQ(digest_of(run.theta), digest_of(again.theta));
}

}  // namespace
}  // namespace rubato
