// The clock of the authors' toy task (ALGORITHMS 6.7; asyncdiloco notebook): H = 20, grace 0.5 s,
// four workers of 0.58, 0.75, 1.51 and 3.33 seconds per step, evaluation every 800 local steps.
#include "tests/sim/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr int64_t kPhaseSteps = 4 * 20;  // local steps of all workers in one phase of the notebook

std::vector<double> eval_times(const RecordLog& log) {
  std::vector<double> times;
  for (const EvalRecord& eval : log.evals) {
    if (eval.local_steps > 0) times.push_back(to_seconds(eval.virtual_time_ns));
  }
  return times;
}

SimulationConfig toy_phases(int64_t phases, const std::string& gate) {
  SimulationConfig config = toy_config();
  config.coordinator.budget_steps = config.coordinator.schedule_steps = phases * kPhaseSteps;
  if (gate != config.gate.name) config.gate = {gate, {}};
  if (gate == "barrier") config.chain.rule = "nesterov";
  return config;
}

// Seconds until the budget of `phases` was processed, to the step: 20 divides it.
double seconds_for(int64_t phases, const std::string& gate, const Workload& workload) {
  const SimRun run = run_to_end(toy_phases(phases, gate), workload);
  EXPECT_EQ(run.counts.steps, phases * kPhaseSteps) << gate;
  return run.log.evals.empty() ? 0 : to_seconds(run.log.evals.back().virtual_time_ns);
}

// The workload has no say in the clock.
double sync_over_async(int64_t phases, const std::string& gate) {
  const auto workload = quadratic_workload();
  return seconds_for(phases, "barrier", *workload) / seconds_for(phases, gate, *workload);
}

TEST(ToyClock, AsynchronousEvaluationTimesAreExact) {
  const SimRun run = run_to_end(toy_config(), *quadratic_workload());
  EXPECT_THAT(eval_times(run.log),
              testing::ElementsAre(209.00, 406.40, 603.80, 801.40, 999.00, 1207.80, 1404.20,
                                   1600.60, 1800.20, 1998.60));
}

TEST(ToyClock, SynchronousRoundsEndAtMultiplesOfTheSlowestWorkersTime) {
  SimulationConfig config = toy_phases(10, "barrier");
  config.eval_every_steps = kPhaseSteps;
  const SimRun run = run_to_end(config, *quadratic_workload());
  const std::vector<double> times = eval_times(run.log);
  ASSERT_EQ(times.size(), 10u);
  for (size_t round = 0; round < times.size(); ++round) {
    EXPECT_DOUBLE_EQ(times[round], 66.6 * static_cast<double>(round + 1));
  }
}

TEST(ToyClock, SynchronousTakes3332TimesAsLongForTheStepsOf100Phases) {
  EXPECT_NEAR(sync_over_async(100, "grace"), 3.332, 0.0005);
}

TEST(ToyClock, SynchronousTakes3334TimesAsLongForTheStepsOf400Phases) {
  EXPECT_NEAR(sync_over_async(400, "grace"), 3.334, 0.0005);
}

// Without grace nobody ever waits, so the fleet makes sum(1/t_w) steps a second, and synchronously
// 4/max(t_w). What keeps a finite run below that is the work still in flight at its end, less than
// one task a worker however long the run: of the limit's 3.347 a share that shrinks as 1/phases.
TEST(ToyClock, WithoutGraceTheRatioTendsTo3347FromBelow) {
  const double limit = 3.33 / 4 * (1 / 0.58 + 1 / 0.75 + 1 / 1.51 + 1 / 3.33);
  EXPECT_NEAR(limit, 3.347, 0.0005);
  for (int64_t phases : {100, 400, 1600}) {
    const double ratio = sync_over_async(phases, "free");
    EXPECT_LT(ratio, limit) << phases;
    EXPECT_GT(ratio, limit * (1 - 1.0 / static_cast<double>(phases))) << phases;
  }
}

}  // namespace
}  // namespace rubato
