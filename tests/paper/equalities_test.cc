// The equalities of ALGORITHMS 6 that need a whole run: 4, 5 and 9, and the staleness of equal
// workers.
#include <cmath>

#include "tests/sim/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr int64_t kWorkers = 4, kLocalSteps = 5, kRounds = 8;

SimulationConfig equal_speeds(const std::string& gate, std::vector<std::string> links,
                              const std::string& rule) {
  SimulationConfig config = toy_config();
  config.fleet = equal_fleet(kWorkers);
  config.coordinator.local_steps = kLocalSteps;
  config.coordinator.budget_steps = kWorkers * kLocalSteps * kRounds;
  config.coordinator.schedule_steps = config.coordinator.budget_steps;
  config.gate = {gate, {}};
  config.sampler = {"own_shard", {}};  // the same shard for the same worker in both
  config.chain = {.links = std::move(links), .rule = rule, .options = {}};
  config.chain.options[rule] = {{"lr", 0.6}};
  return config;
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

// Equal speeds, so every window holds all workers and its end is a round boundary. The last group
// is cut by the budget exactly where the synchronous run ends.
TEST(Equality4, DelayedNesterovUnderGraceIsSyncDilocoAtRoundBoundaries) {
  for (const char* inner : {"sgd", "adamw"}) {
    const auto workload = quadratic_workload(inner);
    const SimRun sync = run_to_end(equal_speeds("barrier", {}, "nesterov"), *workload);
    const SimRun dn = run_to_end(equal_speeds("grace", {}, "delayed_nesterov"), *workload);
    EXPECT_EQ(sync.counts.version, kRounds);
    EXPECT_EQ(dn.counts.version, kRounds * kWorkers);
    EXPECT_LT(relative_distance(dn.theta, sync.theta), 1e-6) << inner;
  }
}

TEST(Equality4, ABufferOfKUnderGraceIsSyncDilocoAtRoundBoundaries) {
  const auto workload = quadratic_workload("adamw");
  const SimRun sync = run_to_end(equal_speeds("barrier", {}, "nesterov"), *workload);
  const SimRun buffer = run_to_end(equal_speeds("grace", {"buffer"}, "nesterov"), *workload);
  EXPECT_EQ(buffer.counts.version, kRounds);
  EXPECT_LT(relative_distance(buffer.theta, sync.theta), 1e-6);
}

TEST(Equality5, OneLocalSgdStepOfKWorkersIsOneStepOnTheKTimesBatch) {
  const auto workload = quadratic_workload("sgd");
  SimulationConfig config = equal_speeds("barrier", {}, "sgd");
  config.chain.options["sgd"] = {{"lr", 1.0}};
  config.coordinator.local_steps = 1;
  config.coordinator.budget_steps = kWorkers;
  config.worker.batch_sequences = 3;
  const SimRun run = run_to_end(config, *workload);

  const DataMap data(workload->shard_sequences(), false, config.coordinator.seed);
  std::vector<float> theta(static_cast<size_t>(workload->layout().size()));
  workload->initialise(1, theta);
  std::vector<double> gradient(theta.size());
  for (int64_t worker = 0; worker < kWorkers; ++worker) {
    for (int64_t i = 0; i < 3; ++i) {
      workload->add_gradient(data.locate(ShardId(worker), 0, i), theta, 1.0 / (3 * kWorkers),
                             gradient);
    }
  }
  for (size_t i = 0; i < theta.size(); ++i) {
    theta[i] -= static_cast<float>(config.worker.learning_rate.max * gradient[i]);
  }
  EXPECT_LT(relative_distance(run.theta, theta), 1e-6);
}

TEST(Equality9, OneAsynchronousWorkerIsOneSynchronousWorker) {
  const auto workload = quadratic_workload("adamw");
  for (const char* rule : {"nesterov", "momentum", "adam"}) {
    SimulationConfig sync = equal_speeds("barrier", {}, rule);
    sync.fleet = equal_fleet(1);
    sync.num_workers = 1;
    SimulationConfig free = sync, grace = sync;
    free.gate = {"free", {}};
    grace.gate = {"grace", {}};
    const std::vector<float> want = run_to_end(sync, *workload).theta;
    EXPECT_EQ(run_to_end(free, *workload).theta, want) << rule;
    EXPECT_EQ(run_to_end(grace, *workload).theta, want) << rule;
  }
}

// ALGORITHMS 1, staleness: k equal asynchronous workers finishing together have 0, 1, .., k-1.
TEST(Staleness, EqualWorkersFinishingTogetherAreZeroToKMinusOneStale) {
  for (const char* gate : {"free", "grace"}) {
    SimulationConfig config = equal_speeds(gate, {}, "sgd");
    const SimRun run = run_to_end(config, *quadratic_workload());
    for (size_t i = 0; i < run.log.updates.size(); ++i) {
      EXPECT_EQ(run.log.updates[i].staleness, static_cast<int64_t>(i) % kWorkers)
          << gate << " arrival " << i;
    }
  }
}

TEST(Staleness, SynchronousTrainingHasNone) {
  const SimRun run = run_to_end(equal_speeds("barrier", {}, "nesterov"), *quadratic_workload());
  for (const UpdateRecord& update : run.log.updates) EXPECT_EQ(update.staleness, 0);
}

TEST(Budget, EveryMethodProcessesTheBudgetToTheStepWhenHDividesIt) {
  for (const char* gate : {"free", "grace", "barrier"}) {
    const SimRun run = run_to_end(equal_speeds(gate, {}, "sgd"), *quadratic_workload());
    EXPECT_EQ(run.counts.steps, kWorkers * kLocalSteps * kRounds) << gate;
  }
}

TEST(Windows, AllOfAGroupStartFromTheSameVersion) {
  SimulationConfig config = toy_config();
  config.policy = {"dylu", {}};
  config.coordinator.local_steps = 50;
  config.coordinator.budget_steps = 1000;
  const SimRun run = run_to_end(config, *quadratic_workload());
  // DyLU at H = 50: 50, 38, 19, 8 steps take 29, 28.5, 28.69, 26.64 s (ALGORITHMS 6.6).
  std::vector<int64_t> steps(4);
  for (const UpdateRecord& update : run.log.updates)
    steps[static_cast<size_t>(update.worker.value())] = update.steps;
  EXPECT_THAT(steps, testing::ElementsAre(50, 38, 19, 8));
}

}  // namespace
}  // namespace rubato
