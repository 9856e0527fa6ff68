// What the paper (arXiv:2401.09135) says about its loop (Alg. 2, 4, 5) and how a task is made (eq.
// 2, 3, 6), read off the records of whole runs.
#include <algorithm>
#include <map>

#include "tests/sim/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr int64_t kWorkers = 4;

SimulationConfig equal_workers(const std::string& gate) {
  SimulationConfig config = toy_config();
  config.fleet = equal_fleet(kWorkers);
  config.coordinator.local_steps = 5;
  config.coordinator.budget_steps = config.coordinator.schedule_steps = kWorkers * 5 * 8;
  config.gate = {gate, {}};
  config.chain.rule = "sgd";
  return config;
}

SimulationConfig dylu_workers() {
  SimulationConfig config = toy_config();
  config.policy = {"dylu", {}};
  config.coordinator.local_steps = 50;
  config.coordinator.budget_steps = config.coordinator.schedule_steps = 2000;
  return config;
}

// The longest run of tasks from the first on whose updates are all in the log: what the coordinator
// had assigned whenever it chose one of them. Tasks still in flight at the end are in no record.
std::vector<UpdateRecord> in_order_of_dispatch(const RecordLog& log) {
  std::vector<UpdateRecord> tasks = log.updates;
  std::ranges::sort(tasks, {}, &UpdateRecord::task);
  size_t known = 0;
  while (known < tasks.size() && tasks[known].task == TaskId(static_cast<int64_t>(known))) ++known;
  tasks.resize(known);
  return tasks;
}

// The base of a task is the version its update was applied at less its staleness; recorded is the
// version after the update.
int64_t base_of(const UpdateRecord& update) {
  return update.version.value() - 1 - update.staleness;
}

// Notebook: k equal asynchronous workers finishing together are 0, 1, .., k-1 versions stale.
TEST(Staleness, EqualWorkersFinishingTogetherAreZeroToKMinusOneStale) {
  for (const char* gate : {"free", "grace"}) {
    const SimRun run = run_to_end(equal_workers(gate), *quadratic_workload());
    ASSERT_EQ(run.log.updates.size(), 8u * kWorkers) << gate;
    for (size_t i = 0; i < run.log.updates.size(); ++i) {
      EXPECT_EQ(run.log.updates[i].staleness, static_cast<int64_t>(i) % kWorkers)
          << gate << " arrival " << i;
    }
  }
}

// Algorithm 1: in a round everybody starts from the same theta and the mean is applied once.
TEST(Staleness, SynchronousTrainingHasNone) {
  SimulationConfig config = equal_workers("barrier");
  config.chain.rule = "nesterov";
  const SimRun run = run_to_end(config, *quadratic_workload());
  ASSERT_EQ(run.log.updates.size(), 8u * kWorkers);
  for (const UpdateRecord& update : run.log.updates) EXPECT_EQ(update.staleness, 0);
}

// Algorithm 2: the loop ends when all workers together made the budget's local steps.
TEST(Budget, EveryMethodProcessesTheBudgetToTheStepWhenHDividesIt) {
  for (const char* gate : {"free", "grace", "barrier"}) {
    const SimRun run = run_to_end(equal_workers(gate), *quadratic_workload());
    EXPECT_EQ(run.counts.steps, kWorkers * 5 * 8) << gate;
  }
}

// Algorithm 2: the window opens at the first finish and does not slide. Third and fourth finish
// 0.4 s after the one before them, but 0.8 and 1.2 s after the first.
TEST(Windows, TheGraceCountsFromTheFirstFinish) {
  SimulationConfig config = equal_workers("grace");
  for (size_t i = 0; i < config.fleet.size(); ++i)
    config.fleet[i].ns_per_step += static_cast<Nanos>(i) * from_seconds(0.08);
  const SimRun run = run_to_end(config, *quadratic_workload());
  const auto tasks = in_order_of_dispatch(run.log);
  ASSERT_GE(tasks.size(), 8u);
  std::vector<std::pair<int64_t, int64_t>> second;  // of each worker's second task: worker, base
  for (size_t i = kWorkers; i < 2 * kWorkers; ++i)
    second.emplace_back(tasks[i].worker.value(), base_of(tasks[i]));
  using Pair = std::pair<int64_t, int64_t>;
  EXPECT_THAT(second, testing::ElementsAre(Pair{0, 2}, Pair{1, 2}, Pair{2, 4}, Pair{3, 4}));
}

// Algorithm 2: waiting workers get their tasks together, all from the same theta; nobody waits
// longer than the grace, and a worker nobody else is near waits no time.
TEST(Windows, AllOfAGroupStartFromTheSameVersion) {
  const SimRun run = run_to_end(dylu_workers(), *quadratic_workload());
  std::map<TaskId, int64_t> bases;
  for (const UpdateRecord& update : run.log.updates) bases[update.task] = base_of(update);
  std::map<Nanos, std::vector<TaskId>> groups;  // by the instant of dispatch
  for (const TaskSpan& span : run.log.spans) {
    if (span.kind == SpanKind::kTrain) groups[span.begin_ns].push_back(span.task);
    if (span.kind == SpanKind::kWait) {
      EXPECT_LE(span.end_ns - span.begin_ns, from_seconds(0.5));
    }
  }
  size_t shared = 0, last_base = 0;
  for (const auto& [at, tasks] : groups) {
    for (TaskId task : tasks)
      EXPECT_EQ(bases.at(task), bases.at(tasks[0])) << task << " at " << to_seconds(at) << " s";
    EXPECT_TRUE(at == 0 || static_cast<size_t>(bases.at(tasks[0])) > last_base);
    last_base = static_cast<size_t>(bases.at(tasks[0]));
    shared += tasks.size() > 1;
  }
  EXPECT_GT(shared, 5u);                 // groups of several ..
  EXPECT_LT(shared + 5, groups.size());  // .. and of one
}

// Equation 6: a worker makes as many local steps as fit into the time in which the fastest makes H.
// The toy's speeds at H = 50 give 50, 38, 19 and 8 (29, 28.5, 28.69 and 26.64 s), in every task.
TEST(Equation6, DynamicLocalUpdatesOfTheToysSpeeds) {
  const SimRun run = run_to_end(dylu_workers(), *quadratic_workload());
  std::map<int64_t, std::vector<int64_t>> steps;  // by worker, without what the budget cut short
  for (const UpdateRecord& update : run.log.updates)
    steps[update.worker.value()].push_back(update.steps);
  ASSERT_EQ(steps.size(), 4u);
  for (const auto& [worker, of_worker] : steps) {
    ASSERT_GT(of_worker.size(), 10u);
    const int64_t want[] = {50, 38, 19, 8};
    for (size_t i = 0; i + 1 < of_worker.size(); ++i)
      EXPECT_EQ(of_worker[i], want[worker]) << worker;
  }
}

// Equation 2: a shard is drawn by how far its share of what has been assigned lies below its share
// of the data, so one that has had its share or more is not drawn. Counted at assignment: the tasks
// of one group differ in their shard though none of them has come back.
TEST(Equation2, NoShardIsDrawnThatHasHadItsShare) {
  SimulationConfig config = dylu_workers();
  config.sampler = {"deficit", {}};
  const SimRun run = run_to_end(config, *quadratic_workload());
  const auto tasks = in_order_of_dispatch(run.log);
  ASSERT_GT(tasks.size(), 50u);
  std::map<ShardId, int64_t> assigned;
  int64_t all = 0;
  for (const UpdateRecord& task : tasks) {
    std::map<ShardId, int64_t>::mapped_type& own = assigned[task.shard];
    // Four shards of one size; when all have had exactly theirs, any may be drawn.
    const bool balanced =
        all > 0 && assigned.size() == 4 &&
        std::ranges::all_of(assigned, [&](const auto& shard) { return 4 * shard.second == all; });
    EXPECT_TRUE(all == 0 || balanced || 4 * own < all) << "task " << task.task;
    own += task.steps;
    all += task.steps;
  }
  EXPECT_EQ(assigned.size(), 4u);
}

// Equation 3: the rate follows the progress of the task's shard, whoever trained there before, to a
// target that is the shard's part of the budget.
TEST(Equation3, TheRateFollowsTheShardsProgress) {
  SimulationConfig config = dylu_workers();
  config.worker.learning_rate = {.max = 0.05, .min = 0.005, .warmup_steps = 60};
  const SimRun run = run_to_end(config, *quadratic_workload());
  const auto tasks = in_order_of_dispatch(run.log);
  ASSERT_GT(tasks.size(), 50u);
  std::map<ShardId, int64_t> assigned;
  for (const UpdateRecord& task : tasks) {
    int64_t& t = assigned[task.shard];
    t += task.steps;
    EXPECT_DOUBLE_EQ(task.lr, config.worker.learning_rate.at(t - 1, 2000 / 4)) << task.task;
  }
  for (const auto& [shard, t] : assigned) EXPECT_GT(t, 250) << "shard " << shard << " is past half";
}

}  // namespace
}  // namespace rubato
