#include "rubato/worker/task_run.h"

#include <cmath>
#include <numeric>

#include "rubato/base/archive.h"
#include "rubato/base/flat_ops.h"
#include "rubato/schedule/permutation.h"

namespace rubato {

DataMap::DataMap(std::vector<int64_t> shard_sequences, bool merged, uint64_t seed)
    : sizes_(std::move(shard_sequences)),
      whole_(std::accumulate(sizes_.begin(), sizes_.end(), int64_t{0})),
      merged_(merged),
      seed_(seed) {}

std::vector<int64_t> DataMap::logical_shards() const {
  if (!merged_) return sizes_;
  return {whole_};
}

SequenceRef DataMap::locate(ShardId shard, int64_t epoch, int64_t position) const {
  if (!merged_) {
    const int64_t size = sizes_[static_cast<size_t>(shard.value())];
    return {shard, permuted_index(seed_, shard, epoch, position, size)};
  }
  int64_t index = permuted_index(seed_, ShardId(-1), epoch, position, whole_);
  size_t physical = 0;
  while (index >= sizes_[physical]) index -= sizes_[physical++];
  return {ShardId(static_cast<int64_t>(physical)), index};
}

double task_learning_rate(const Task& task, int64_t step, const WorkerSettings& settings) {
  double rate = step == 0 && settings.first_step_at_max
                    ? settings.learning_rate.max
                    : settings.learning_rate.at(task.lr_first + step, task.lr_total);
  if (task.rewarm_first >= 0) {
    const auto done = static_cast<double>(task.rewarm_first + step + 1);
    rate *= std::min(1.0, done / static_cast<double>(settings.inner_rewarm_steps));
  }
  return rate;
}

TaskRun::TaskRun(Task task, std::shared_ptr<const std::vector<float>> base, InnerState* state)
    : task_(std::move(task)), base_(std::move(base)), state_(state), params_(*base_) {}

void TaskRun::choose_batch(int64_t step, const WorkerSettings& settings, const DataMap& data) {
  batch_.clear();
  batch_.reserve(static_cast<size_t>(settings.batch_sequences));
  int64_t skip = step * settings.batch_sequences, want = settings.batch_sequences;
  for (const DataRange& range : task_.ranges) {
    for (int64_t i = std::min(skip, range.count); i < range.count && want > 0; ++i, --want) {
      batch_.push_back(data.locate(task_.shard, range.epoch, range.first + i));
    }
    skip -= std::min(skip, range.count);
  }
}

bool TaskRun::advance(Trainer& trainer, const WorkerSettings& settings, const DataMap& data,
                      int threads) {
  if (!finite_ || steps_done_ == task_.steps) return false;
  // Not before: until its first step the state belongs to the task before it.
  if (settings.reset_inner && steps_done_ == 0) state_->reset();
  last_lr_ = task_learning_rate(task_, steps_done_, settings);
  choose_batch(steps_done_, settings, data);
  const StepResult result = trainer.step(params_, *state_, batch_, last_lr_, threads);
  ++steps_done_;
  tokens_ += result.tokens;
  loss_sum_ += result.loss;
  if (!std::isfinite(result.loss)) finite_ = false;
  return finite_ && steps_done_ < task_.steps;
}

void TaskRun::finish() {
  RUBATO_CHECK(!finished_);
  subtract(*base_, params_, params_);
  norm_ = l2_norm(params_);
  finite_ = finite_ && std::isfinite(norm_);
  finished_ = true;
}

void TaskRun::walk_state(StateWalk& walk) {
  walk_record(walk, "progress", [this](auto& parts) {
    parts(steps_done_, tokens_, loss_sum_, last_lr_, norm_, finite_, finished_);
  });
  walk.plane("params", params_);
}

}  // namespace rubato
