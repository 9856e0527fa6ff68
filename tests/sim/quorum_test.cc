// The quorum gate in whole runs: with everybody it is the barrier, to the bit; with fewer nobody
// waits for the slowest, and the budget ends it as exactly as it ends asynchronous training.
#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

SimulationConfig config_of(Choice gate, const std::string& rule = "nesterov") {
  SimulationConfig config = toy_config();
  config.coordinator.budget_steps = config.coordinator.schedule_steps = 1600;
  config.policy = {"fixed", {}};
  config.gate = std::move(gate);
  config.chain = {{}, rule, {}};
  return config;
}

Choice quorum(int64_t deltas, double grace, const std::string& weight = "members") {
  return {"quorum", {{"deltas", deltas}, {"grace", grace}, {"weight", weight}}};
}

TEST(Quorum, OfEverybodyIsTheBarrier) {
  const auto workload = quadratic_workload("adamw");
  const SimRun barrier = run_to_end(config_of({"barrier", {}}), *workload);
  for (const Choice& gate :
       {quorum(4, 0), quorum(4, 1e6), quorum(1, 1e6), quorum(4, 0, "tokens")}) {
    const SimRun run = run_to_end(config_of(gate), *workload);
    EXPECT_EQ(run.theta, barrier.theta);
    EXPECT_EQ(lines_of(run.log), lines_of(barrier.log));
    EXPECT_EQ(run.counts.version, 20);
  }
}

TEST(Quorum, OfAFewDoesNotWaitForTheSlowest) {
  const auto workload = quadratic_workload("adamw");
  const SimRun barrier = run_to_end(config_of({"barrier", {}}), *workload);
  const SimRun run = run_to_end(config_of(quorum(2, 0.25)), *workload);
  EXPECT_LT(run.log.evals.back().virtual_time_ns, barrier.log.evals.back().virtual_time_ns * 2 / 3);
  EXPECT_GE(run.counts.steps, 1600);
  EXPECT_LT(run.counts.steps, 1620);
  int64_t most = 0;
  for (const UpdateRecord& update : run.log.updates) most = std::max(most, update.staleness);
  EXPECT_GT(most, 0) << "the slowest worker's deltas are stale, and taken";
}

TEST(Quorum, HasNoBaseForLinksThatReadOne) {
  SimulationConfig config = config_of(quorum(2, 0));
  config.chain.links = {"delay_compensation"};
  const auto workload = quadratic_workload("adamw");
  const auto made = make_machine(config, workload->layout(), {10, 10, 10, 10}, 1);
  EXPECT_EQ(made.status().message(),
            "[outer chain] got a link that reads the parameters a delta started from behind gate "
            "quorum, want another gate; the members of its groups started from different ones");
  config.gate = {"barrier", {}};
  EXPECT_TRUE(make_machine(config, workload->layout(), {10, 10, 10, 10}, 1).ok());
}

TEST(Quorum, AndTheBarrierHaveGroupsToMerge) {
  const auto workload = quadratic_workload("adamw");
  for (const char* gate : {"free", "grace", "barrier", "quorum"}) {
    SimulationConfig config = config_of({gate, {}});
    config.chain.links = {"radial_directional"};
    const auto made = make_machine(config, workload->layout(), {10, 10, 10, 10}, 1);
    const bool averages = std::string_view(gate) == "barrier" || std::string_view(gate) == "quorum";
    EXPECT_EQ(made.ok(), averages) << gate;
    if (!averages) {
      EXPECT_EQ(made.status().message(),
                cat("[outer chain] got a link that merges groups behind gate ", gate,
                    ", want one that averages: barrier or quorum"));
    }
  }
}

}  // namespace
}  // namespace rubato
