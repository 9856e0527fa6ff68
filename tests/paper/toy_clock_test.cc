// The clock of the authors' toy task (ALGORITHMS 6.7; asyncdiloco notebook): H = 20, grace 0.5 s,
// four workers of 0.58, 0.75, 1.51 and 3.33 seconds per step, evaluation every 800 local steps.
#include "tests/sim/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

std::vector<double> eval_times(const RecordLog& log) {
  std::vector<double> times;
  for (const EvalRecord& eval : log.evals) {
    if (eval.local_steps > 0) times.push_back(to_seconds(eval.virtual_time_ns));
  }
  return times;
}

TEST(ToyClock, AsynchronousEvaluationTimesAreExact) {
  const SimRun run = run_to_end(toy_config(), *quadratic_workload());
  EXPECT_THAT(eval_times(run.log),
              testing::ElementsAre(209.00, 406.40, 603.80, 801.40, 999.00, 1207.80, 1404.20,
                                   1600.60, 1800.20, 1998.60));
}

TEST(ToyClock, SynchronousRoundsEndAtMultiplesOfTheSlowestWorkersTime) {
  SimulationConfig config = toy_config();
  config.gate = {"barrier", {}};
  config.chain.rule = "nesterov";
  config.eval_every_steps = 80;
  config.coordinator.budget_steps = 800;
  const SimRun run = run_to_end(config, *quadratic_workload());
  const std::vector<double> times = eval_times(run.log);
  ASSERT_EQ(times.size(), 10u);
  for (size_t round = 0; round < times.size(); ++round) {
    EXPECT_DOUBLE_EQ(times[round], 66.6 * static_cast<double>(round + 1));
  }
}

TEST(ToyClock, SynchronousTakes3332TimesAsLongForEqualSteps) {
  const SimRun run = run_to_end(toy_config(), *quadratic_workload());
  EXPECT_NEAR(66.6 * 100 / eval_times(run.log).back(), 3.332, 0.0005);
}

}  // namespace
}  // namespace rubato
