// inner_state = keep, reset: whether a worker's AdamW goes on from task to task (Liu et al. 2024,
// app. 10.1) or begins anew with each (the authors' notebook). Both are held against rounds of
// plain local steps written out here.
#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr int64_t kWorkers = 3, kLocalSteps = 4, kRounds = 5;

// Rounds of federated averaging: worker i trains on shard i, and the mean of the deltas is applied
// with rate 1.
SimulationConfig averaging_config(bool reset_inner) {
  SimulationConfig config = toy_config();
  config.fleet = equal_fleet(kWorkers);
  config.num_workers = kWorkers;
  config.coordinator.local_steps = kLocalSteps;
  config.coordinator.budget_steps = kWorkers * kLocalSteps * kRounds;
  config.coordinator.schedule_steps = config.coordinator.budget_steps;
  config.gate = {"barrier", {}};
  config.sampler = {"own_shard", {}};
  config.chain = {.links = {}, .rule = "sgd", .options = {{"sgd", {{"lr", 1.0}}}}};
  config.worker.reset_inner = reset_inner;
  return config;
}

// The same without coordinator, server or tasks.
std::vector<float> by_hand(const SimulationConfig& config, const Workload& workload) {
  const int64_t size = workload.layout().size();
  const DataMap data(workload.shard_sequences(), false, config.coordinator.seed);
  const auto trainer = workload.make_trainer(1, 1).value();
  std::vector<float> theta(static_cast<size_t>(size));
  workload.initialise(1, theta);
  std::vector<InnerState> states;
  for (int64_t i = 0; i < kWorkers; ++i) states.push_back(workload.optimizer().make_state(size));
  for (int64_t round = 0; round < kRounds; ++round) {
    std::vector<double> mean(theta.size());
    for (int64_t i = 0; i < kWorkers; ++i) {
      InnerState& state = states[static_cast<size_t>(i)];
      if (config.worker.reset_inner) state = workload.optimizer().make_state(size);
      std::vector<float> params = theta;
      for (int64_t step = 0; step < kLocalSteps; ++step) {
        const SequenceRef batch[] = {data.locate(ShardId(i), 0, round * kLocalSteps + step)};
        trainer->step(params, state, batch, config.worker.learning_rate.max, 1);
      }
      for (size_t j = 0; j < theta.size(); ++j)
        mean[j] += (static_cast<double>(theta[j]) - static_cast<double>(params[j])) / kWorkers;
    }
    for (size_t j = 0; j < theta.size(); ++j) theta[j] -= static_cast<float>(mean[j]);
  }
  return theta;
}

TEST(InnerState, KeepAndResetAreRoundsOfPlainLocalSteps) {
  const auto workload = quadratic_workload("adamw");
  for (const bool reset : {false, true}) {
    const SimulationConfig config = averaging_config(reset);
    const SimRun run = run_to_end(config, *workload);
    ASSERT_EQ(run.counts.version, kRounds);
    EXPECT_LT(relative_distance(run.theta, by_hand(config, *workload)), 1e-6)
        << (reset ? "reset" : "keep");
  }
}

TEST(InnerState, ResetIsNotKeepAfterTheFirstTask) {
  const auto workload = quadratic_workload("adamw");
  for (const int64_t rounds : {int64_t{1}, kRounds}) {
    SimulationConfig keep = averaging_config(false), reset = averaging_config(true);
    keep.coordinator.budget_steps = reset.coordinator.budget_steps =
        kWorkers * kLocalSteps * rounds;
    const std::vector<float> kept = run_to_end(keep, *workload).theta;
    const std::vector<float> fresh = run_to_end(reset, *workload).theta;
    if (rounds == 1) {
      EXPECT_EQ(kept, fresh);
    } else {
      EXPECT_GT(relative_distance(kept, fresh), 1e-2);
    }
  }
}

// Plain SGD has no state to keep, so the option changes no bit.
TEST(InnerState, WithoutStateBothAreTheSame) {
  const auto workload = quadratic_workload("sgd");
  const std::vector<float> kept = run_to_end(averaging_config(false), *workload).theta;
  const std::vector<float> fresh = run_to_end(averaging_config(true), *workload).theta;
  EXPECT_EQ(kept, fresh);
}

}  // namespace
}  // namespace rubato
