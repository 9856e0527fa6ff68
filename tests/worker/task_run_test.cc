// One task on the quadratic workload: the delta, pausing, the data it consumes, the rate, the end.
#include "rubato/worker/task_run.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/flat_ops.h"
#include "rubato/trainer/quadratic.h"

namespace rubato {
namespace {

using Floats = std::vector<float>;
using Params = std::shared_ptr<const Floats>;

// A workload, its executor and a task of 12 steps that begins with leftovers of an older one.
struct Bench {
  explicit Bench(const std::string& inner = "adamw") {
    const auto entry = find_entry<InnerEntry>("test", "inner", inner_entries(), inner);
    auto optimizer = (*entry)->make(Options::resolve(inner, (*entry)->options, {}).value());
    workload =
        QuadraticWorkload::make({.dim = 40, .shards = 3, .sequences_per_shard = 30, .noise = 0.3},
                                std::shared_ptr<const InnerOptimizer>(std::move(*optimizer)))
            .value();
    trainer = workload->make_trainer(2, 1).value();
    Floats theta(40);
    workload->initialise(3, theta);
    base = std::make_shared<const Floats>(theta);
    state = workload->optimizer().make_state(40);
    settings.learning_rate = {.max = 0.1, .min = 0.01, .warmup_steps = 5};
    settings.batch_sequences = 2;
    data.emplace(workload->shard_sequences(), false, 17);
    task = {.id = TaskId(8),
            .worker = WorkerId(1),
            .base = Version(4),
            .shard = ShardId(2),
            .ranges = {{0, 3, 5}, {0, 27, 3}, {1, 0, 16}},
            .steps = 12,
            .lr_first = 2,
            .lr_total = 100};
  }
  bool advance(TaskRun& run) { return run.advance(*trainer, settings, *data, 1); }
  void complete(TaskRun& run) {
    while (advance(run)) {
    }
    run.finish();
  }

  std::unique_ptr<QuadraticWorkload> workload;
  std::unique_ptr<Trainer> trainer;
  Params base;
  InnerState state;
  WorkerSettings settings;
  std::optional<DataMap> data;
  Task task;
};

// Watches the batches and rates; its loss becomes NaN at a chosen step.
class Spy final : public Trainer {
 public:
  explicit Spy(int64_t bad_step = -1) : bad_step_(bad_step) {}
  StepResult step(std::span<float> params, InnerState&, std::span<const SequenceRef> batch,
                  double lr, int threads) override {
    batches.emplace_back(batch.begin(), batch.end());
    rates.push_back(lr);
    threads_seen = threads;
    const auto number = std::ssize(rates) - 1;
    if (number == bad_step_)
      return {.loss = std::numeric_limits<double>::quiet_NaN(), .tokens = std::ssize(batch)};
    for (float& value : params) value -= 1;
    return {.loss = static_cast<double>(number), .tokens = std::ssize(batch)};
  }
  std::vector<std::vector<SequenceRef>> batches;
  std::vector<double> rates;
  int threads_seen = 0;

 private:
  int64_t bad_step_;
};

StateImage image_of(TaskRun& run, InnerState& state) {
  StateImage image;
  StateSaver saver(image, "run."), inner(image, "inner.");
  run.walk_state(saver);
  state.walk_state(inner);
  return image;
}

TEST(TaskRun, DeltaIsStartMinusEnd) {
  Bench bench;
  TaskRun run(bench.task, bench.base, &bench.state);
  bench.complete(run);
  // The same steps by hand.
  Bench other;
  Floats params = *other.base;
  double losses = 0;
  for (int64_t step = 0; step < 12; ++step) {
    std::vector<SequenceRef> batch;
    for (int64_t i = 2 * step; i < 2 * step + 2; ++i) {
      const int64_t epoch = i < 8 ? 0 : 1;
      const int64_t position = i < 5 ? 3 + i : i < 8 ? 27 + i - 5 : i - 8;
      batch.push_back(other.data->locate(ShardId(2), epoch, position));
    }
    const double lr = other.settings.learning_rate.at(2 + step, 100);
    losses += other.trainer->step(params, other.state, batch, lr, 1).loss;
  }
  ASSERT_EQ(run.delta().size(), 40u);
  for (size_t i = 0; i < 40; ++i) EXPECT_EQ(run.delta()[i], (*other.base)[i] - params[i]);
  EXPECT_EQ(run.norm(), l2_norm(run.delta()));
  EXPECT_GT(run.norm(), 0);
  EXPECT_TRUE(run.finite());
  EXPECT_TRUE(run.finished());
  EXPECT_EQ(run.steps_done(), 12);
  EXPECT_EQ(run.tokens(), 24);
  EXPECT_DOUBLE_EQ(run.mean_loss(), losses / 12);
  EXPECT_EQ(run.last_lr(), bench.settings.learning_rate.at(13, 100));
  EXPECT_EQ(bench.state.steps, 12) << "the inner state goes on with the worker";
  EXPECT_EQ(*bench.base, *other.base) << "the published version is nobody's to change";
}

TEST(TaskRun, FirstStepOfATaskAtTheLargestRateWhenAsked) {
  Bench bench;
  bench.task.lr_first = 60;
  EXPECT_LT(task_learning_rate(bench.task, 0, bench.settings), 0.06);
  const double second = task_learning_rate(bench.task, 1, bench.settings);
  bench.settings.first_step_at_max = true;
  EXPECT_EQ(task_learning_rate(bench.task, 0, bench.settings), 0.1);
  EXPECT_EQ(task_learning_rate(bench.task, 1, bench.settings), second);
}

TEST(TaskRun, PausedSavedAndRestoredAnywhereIsTheSame) {
  Bench plain;
  TaskRun uninterrupted(plain.task, plain.base, &plain.state);
  plain.complete(uninterrupted);
  const StateImage want = image_of(uninterrupted, plain.state);
  for (int64_t pause = 0; pause <= 12; ++pause) {
    Bench first;
    TaskRun begun(first.task, first.base, &first.state);
    for (int64_t i = 0; i < pause; ++i) first.advance(begun);
    const StateImage saved = image_of(begun, first.state);

    Bench second;  // another process: nothing but the image, the task and its base
    TaskRun resumed(second.task, second.base, &second.state);
    StateRestorer run_part(saved, "run."), inner_part(saved, "inner.");
    resumed.walk_state(run_part);
    second.state.walk_state(inner_part);
    ASSERT_TRUE(run_part.status().ok() && inner_part.status().ok());
    EXPECT_EQ(resumed.steps_done(), pause);
    second.complete(resumed);
    EXPECT_TRUE(image_of(resumed, second.state) == want) << "paused after " << pause;
  }
}

TEST(TaskRun, AFinishedRunComesBackFinished) {
  Bench bench;
  TaskRun run(bench.task, bench.base, &bench.state);
  bench.complete(run);
  const StateImage saved = image_of(run, bench.state);
  TaskRun restored(bench.task, bench.base, &bench.state);
  StateRestorer restorer(saved, "run.");
  restored.walk_state(restorer);
  EXPECT_TRUE(restored.finished());
  EXPECT_EQ(restored.norm(), run.norm());
  EXPECT_FALSE(bench.advance(restored));
  EXPECT_TRUE(std::ranges::equal(restored.delta(), run.delta()));
}

TEST(TaskRun, AdvanceSaysWhenItIsOver) {
  Bench bench;
  TaskRun run(bench.task, bench.base, &bench.state);
  for (int64_t i = 1; i < 12; ++i) EXPECT_TRUE(bench.advance(run));
  EXPECT_FALSE(bench.advance(run)) << "the last step";
  EXPECT_FALSE(bench.advance(run)) << "no step beyond it";
  EXPECT_EQ(run.steps_done(), 12);
}

TEST(TaskRun, BatchesFollowTheRanges) {
  Bench bench;
  Spy spy;
  TaskRun run(bench.task, bench.base, &bench.state);
  while (run.advance(spy, bench.settings, *bench.data, 3)) {
  }
  EXPECT_EQ(spy.threads_seen, 3);
  std::vector<std::pair<int64_t, int64_t>> want;
  for (const DataRange& range : bench.task.ranges)
    for (int64_t i = 0; i < range.count; ++i) want.push_back({range.epoch, range.first + i});
  ASSERT_EQ(spy.batches.size(), 12u);
  size_t next = 0;
  for (const auto& batch : spy.batches) {
    ASSERT_EQ(batch.size(), 2u);
    for (const SequenceRef& sequence : batch) {
      const auto [epoch, position] = want[next++];
      EXPECT_EQ(sequence.shard, ShardId(2));
      EXPECT_EQ(sequence.index, bench.data->locate(ShardId(2), epoch, position).index);
    }
  }
  EXPECT_EQ(next, want.size());
}

TEST(TaskRun, ALossThatIsNotFiniteStops) {
  Bench bench;
  Spy spy(4);
  TaskRun run(bench.task, bench.base, &bench.state);
  int64_t advanced = 0;
  while (run.advance(spy, bench.settings, *bench.data, 1)) ++advanced;
  EXPECT_EQ(advanced, 4);
  EXPECT_FALSE(run.advance(spy, bench.settings, *bench.data, 1)) << "it stays stopped";
  EXPECT_EQ(spy.rates.size(), 5u);
  run.finish();
  EXPECT_FALSE(run.finite());
  // What it reports can be believed by the door: as many tokens as steps.
  EXPECT_EQ(run.tokens(), run.steps_done() * bench.settings.batch_sequences);
}

TEST(TaskRun, ParametersThatAreNotFiniteAreSeenAtTheEnd) {
  Bench bench;
  class Spoiler final : public Trainer {
   public:
    StepResult step(std::span<float> params, InnerState&, std::span<const SequenceRef> batch,
                    double, int) override {
      params[7] = std::numeric_limits<float>::infinity();
      return {.loss = 1, .tokens = std::ssize(batch)};
    }
  } spoiler;
  TaskRun run(bench.task, bench.base, &bench.state);
  while (run.advance(spoiler, bench.settings, *bench.data, 1)) {
  }
  run.finish();
  EXPECT_FALSE(run.finite());
}

TEST(TaskRun, LargeDeltasHaveAFiniteNorm) {
  Bench bench;
  class Jump final : public Trainer {
   public:
    StepResult step(std::span<float> params, InnerState&, std::span<const SequenceRef> batch,
                    double, int) override {
      for (float& value : params) value = 1e30f;
      return {.loss = 1, .tokens = std::ssize(batch)};
    }
  } jump;
  TaskRun run(bench.task, bench.base, &bench.state);
  while (run.advance(jump, bench.settings, *bench.data, 1)) {
  }
  run.finish();
  EXPECT_TRUE(run.finite());
  EXPECT_NEAR(run.norm() / (1e30 * std::sqrt(40.0)), 1, 1e-6);
}

TEST(TaskLearningRate, FollowsTheShardsProgress) {
  Bench bench;
  for (int64_t step = 0; step < 12; ++step) {
    EXPECT_EQ(task_learning_rate(bench.task, step, bench.settings),
              bench.settings.learning_rate.at(2 + step, 100));
  }
}

TEST(TaskLearningRate, ALateWorkerRampsUpOverItsTasks) {
  Bench bench;
  bench.settings.learning_rate = {.max = 0.1, .min = 0.1, .warmup_steps = 0};
  bench.settings.inner_rewarm_steps = 20;
  bench.task.rewarm_first = 0;
  double before = 0;
  for (int64_t step = 0; step < 12; ++step) {
    const double rate = task_learning_rate(bench.task, step, bench.settings);
    EXPECT_GT(rate, before);
    EXPECT_LT(rate, 0.1);
    before = rate;
  }
  // The next task goes on where this one stopped, and after 20 steps the ramp is over.
  bench.task.rewarm_first = 12;
  EXPECT_GT(task_learning_rate(bench.task, 0, bench.settings), before);
  EXPECT_LT(task_learning_rate(bench.task, 5, bench.settings), 0.1);
  EXPECT_DOUBLE_EQ(task_learning_rate(bench.task, 8, bench.settings), 0.1);
  EXPECT_DOUBLE_EQ(task_learning_rate(bench.task, 11, bench.settings), 0.1);
  // Equal steps up, whatever the task boundaries.
  EXPECT_NEAR(task_learning_rate(bench.task, 3, bench.settings) -
                  task_learning_rate(bench.task, 2, bench.settings),
              0.1 / 20, 1e-15);
}

TEST(DataMap, EverySequenceOncePerEpochShardByShard) {
  const DataMap data({30, 7, 1}, false, 5);
  EXPECT_EQ(data.logical_shards(), (std::vector<int64_t>{30, 7, 1}));
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    for (int64_t shard = 0; shard < 3; ++shard) {
      std::set<int64_t> seen;
      const int64_t size = data.logical_shards()[static_cast<size_t>(shard)];
      for (int64_t i = 0; i < size; ++i) {
        const SequenceRef sequence = data.locate(ShardId(shard), epoch, i);
        EXPECT_EQ(sequence.shard, ShardId(shard));
        EXPECT_TRUE(sequence.index >= 0 && sequence.index < size);
        seen.insert(sequence.index);
      }
      EXPECT_EQ(std::ssize(seen), size);
    }
  }
}

TEST(DataMap, MergedCoversEveryPhysicalSequenceOncePerEpoch) {
  const std::vector<int64_t> sizes = {30, 1, 7, 120};
  const DataMap data(sizes, true, 5);
  EXPECT_EQ(data.logical_shards(), std::vector<int64_t>{158});
  std::set<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    std::set<std::pair<int64_t, int64_t>> seen;
    std::vector<int64_t> order;
    for (int64_t i = 0; i < 158; ++i) {
      const SequenceRef sequence = data.locate(ShardId(0), epoch, i);
      ASSERT_TRUE(sequence.shard.value() >= 0 && sequence.shard.value() < 4);
      ASSERT_LT(sequence.index, sizes[static_cast<size_t>(sequence.shard.value())]);
      seen.insert({sequence.shard.value(), sequence.index});
      order.push_back(sequence.shard.value() * 1000 + sequence.index);
    }
    EXPECT_EQ(seen.size(), 158u);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 4u) << "another order in every epoch";
}

TEST(DataMap, MergedMixesTheShards) {
  const DataMap data({100, 100}, true, 5);
  int64_t of_first = 0;
  for (int64_t i = 0; i < 100; ++i) of_first += data.locate(ShardId(0), 0, i).shard == ShardId(0);
  EXPECT_NEAR(static_cast<double>(of_first), 50, 20);
}

}  // namespace
}  // namespace rubato
