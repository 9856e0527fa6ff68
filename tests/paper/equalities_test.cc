// The equalities of ALGORITHMS 6 that need a whole run: 4, 5 and 9.
#include <algorithm>

#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr int64_t kWorkers = 4, kLocalSteps = 5, kRounds = 8;
constexpr int64_t kRoundSteps = kWorkers * kLocalSteps;

SimulationConfig equal_speeds(const Choice& gate, std::vector<std::string> links,
                              const std::string& rule) {
  SimulationConfig config = toy_config();
  config.fleet = equal_fleet(kWorkers);
  config.coordinator.local_steps = kLocalSteps;
  config.coordinator.budget_steps = kRounds * kRoundSteps;
  config.coordinator.schedule_steps = config.coordinator.budget_steps;
  config.gate = gate;
  config.sampler = {"own_shard", {}};  // the same shard for the same worker in both
  config.chain = {.links = std::move(links), .rule = rule, .options = {}};
  config.chain.options[rule] = {{"lr", 0.6}};
  return config;
}

// The toy's four speeds, the fastest last, so that the order of arrival is not that of the ids; and
// a window longer than the round, in which the slowest finishes 55 s after the fastest.
SimulationConfig unequal_speeds(const Choice& gate, std::vector<std::string> links,
                                const std::string& rule) {
  SimulationConfig config = equal_speeds(gate, std::move(links), rule);
  config.fleet = toy_fleet();
  std::ranges::reverse(config.fleet);
  return config;
}

const Choice kBarrier = {"barrier", {}}, kGrace = {"grace", {}};
const Choice kLongGrace = {"grace", {{"seconds", 60.0}}};

// A run that ends after 1, 2, .. rounds stands where a longer one is at that round's boundary: the
// budget decides only when to stop, because the rate's schedule spans all rounds in each.
void expect_equal_at_every_boundary(SimulationConfig sync, SimulationConfig async,
                                    int64_t versions_per_round) {
  for (const char* inner : {"sgd", "adamw"}) {
    const auto workload = quadratic_workload(inner);
    std::vector<float> last;
    for (int64_t rounds = 1; rounds <= kRounds; ++rounds) {
      sync.coordinator.budget_steps = async.coordinator.budget_steps = rounds * kRoundSteps;
      const SimRun want = run_to_end(sync, *workload), got = run_to_end(async, *workload);
      EXPECT_EQ(want.counts.version, rounds);
      EXPECT_EQ(got.counts.version, rounds * versions_per_round);
      EXPECT_EQ(got.counts.arrivals, rounds * kWorkers);
      EXPECT_LT(relative_distance(got.theta, want.theta), 1e-6)
          << inner << " after round " << rounds;
      EXPECT_NE(got.theta, last) << "round " << rounds << " moved nothing";
      last = got.theta;
    }
  }
}

// Equal speeds, so every window holds all workers and its end is a round boundary. Between two
// boundaries the asynchronous theta moves k times.
TEST(Equality4, DelayedNesterovUnderGraceIsSyncDilocoAtEveryRoundBoundary) {
  expect_equal_at_every_boundary(equal_speeds(kBarrier, {}, "nesterov"),
                                 equal_speeds(kGrace, {}, "delayed_nesterov"), kWorkers);
}

TEST(Equality4, ABufferOfKUnderGraceIsSyncDilocoAtEveryRoundBoundary) {
  expect_equal_at_every_boundary(equal_speeds(kBarrier, {}, "nesterov"),
                                 equal_speeds(kGrace, {"buffer"}, "nesterov"), 1);
}

// What makes them equal is that everybody starts from the same theta, not that everybody is equally
// fast: a window that holds the slowest does it too.
TEST(Equality4, ABufferOfKWithAWindowThatHoldsUnequalWorkersIsSyncDiloco) {
  expect_equal_at_every_boundary(unequal_speeds(kBarrier, {}, "nesterov"),
                                 unequal_speeds(kLongGrace, {"buffer"}, "nesterov"), 1);
}

TEST(Equality4, DelayedNesterovWithAWindowThatHoldsUnequalWorkersIsSyncDiloco) {
  expect_equal_at_every_boundary(unequal_speeds(kBarrier, {}, "nesterov"),
                                 unequal_speeds(kLongGrace, {}, "delayed_nesterov"), kWorkers);
}

// The counter-example that gives the equality its meaning: a window that does not hold the slowest
// lets the fast start from a theta that the slow have not moved yet.
TEST(Equality4, AWindowThatDoesNotHoldAllWorkersIsNotSyncDiloco) {
  const auto workload = quadratic_workload();
  const SimRun sync = run_to_end(unequal_speeds(kBarrier, {}, "nesterov"), *workload);
  const SimRun buffer = run_to_end(unequal_speeds(kGrace, {"buffer"}, "nesterov"), *workload);
  EXPECT_GT(relative_distance(buffer.theta, sync.theta), 1e-3);
}

TEST(Equality5, OneLocalSgdStepOfKWorkersIsOneStepOnTheKTimesBatch) {
  const auto workload = quadratic_workload("sgd");
  SimulationConfig config = equal_speeds(kBarrier, {}, "sgd");
  config.chain.options["sgd"] = {{"lr", 1.0}};
  config.coordinator.local_steps = 1;
  config.coordinator.budget_steps = kWorkers;
  config.worker.batch_sequences = 3;
  const SimRun run = run_to_end(config, *workload);

  const DataMap data(workload->shard_sequences(), false, config.coordinator.seed);
  std::vector<float> theta(static_cast<size_t>(workload->layout().size()));
  workload->initialise(1, theta);
  const std::vector<float> start = theta;
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
  EXPECT_GT(relative_distance(run.theta, start), 1e-3);
}

TEST(Equality9, OneAsynchronousWorkerIsOneSynchronousWorker) {
  const auto workload = quadratic_workload("adamw");
  for (const char* rule : {"nesterov", "momentum", "adam"}) {
    SimulationConfig sync = equal_speeds(kBarrier, {}, rule);
    sync.fleet = equal_fleet(1);
    sync.num_workers = 1;
    SimulationConfig free = sync, grace = sync;
    free.gate = {"free", {}};
    grace.gate = kGrace;
    const SimRun want = run_to_end(sync, *workload);
    EXPECT_EQ(want.counts.version, kRounds * kWorkers) << rule;
    EXPECT_EQ(run_to_end(free, *workload).theta, want.theta) << rule;
    EXPECT_EQ(run_to_end(grace, *workload).theta, want.theta) << rule;
  }
}

}  // namespace
}  // namespace rubato
