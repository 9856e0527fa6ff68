// One task at a worker, step by step: from the dispatched parameters to a pseudo-gradient. A run
// can be paused between two local steps, saved and continued to the same bits; who executes a step
// never matters.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "rubato/base/state_walk.h"
#include "rubato/coordinator/task.h"
#include "rubato/schedule/learning_rate.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

/// Where the ledger's positions lie in the workload's data.
class DataMap {
 public:
  /// `merged`: one logical shard over all physical ones, for training that is not split
  /// (pretraining, k x batch).
  DataMap(std::vector<int64_t> shard_sequences, bool merged, uint64_t seed);

  std::vector<int64_t> logical_shards() const;
  /// The physical sequence at `position` of the logical shard's seeded order in `epoch`.
  SequenceRef locate(ShardId shard, int64_t epoch, int64_t position) const;

 private:
  std::vector<int64_t> sizes_;
  int64_t whole_;
  bool merged_;
  uint64_t seed_;
};

/// What every task of a run has in common.
struct WorkerSettings {
  LearningRate learning_rate;
  bool first_step_at_max = false;  // of every task, whatever the schedule says: as the notebook [T]
  int64_t batch_sequences = 1;     // [sequences] per local step
  int64_t inner_rewarm_steps = 0;  // [local steps] of the ramp of a late or stateless worker
  bool reset_inner = false;        // a new inner state per task, as the toy notebook does
};

class TaskRun {
 public:
  /// `params` [P] starts as a copy of `base` and is trained in place. `state` is the worker's inner
  /// state and stays the worker's; it must outlive the run.
  TaskRun(Task task, std::shared_ptr<const std::vector<float>> base, InnerState* state);

  /// Makes the next local step. Returns false when the task is over: complete, or stopped by a loss
  /// or parameters that are not finite.
  bool advance(Trainer& trainer, const WorkerSettings& settings, const DataMap& data, int threads);

  /// delta = base - params, in place of params; its norm and finiteness. Once, after advance()
  /// returned false.
  void finish();

  const Task& task() const { return task_; }
  const std::shared_ptr<const std::vector<float>>& base() const { return base_; }
  std::span<const float> delta() const { return params_; }
  bool finished() const { return finished_; }
  bool finite() const { return finite_; }
  double norm() const { return norm_; }
  int64_t steps_done() const { return steps_done_; }
  int64_t tokens() const { return tokens_; }
  double mean_loss() const {
    return steps_done_ > 0 ? loss_sum_ / static_cast<double>(steps_done_) : 0;
  }
  double last_lr() const { return last_lr_; }
  /// Progress and parameters; task, base and inner state are their owners' to keep.
  void walk_state(StateWalk& walk);

 private:
  // Fills batch_ with the sequences of step `step`.
  void choose_batch(int64_t step, const WorkerSettings& settings, const DataMap& data);

  Task task_;
  std::shared_ptr<const std::vector<float>> base_;
  InnerState* state_;
  std::vector<float> params_;
  std::vector<SequenceRef> batch_;  // of the step under way; kept so that a step allocates nothing
  int64_t steps_done_ = 0, tokens_ = 0;
  double loss_sum_ = 0, last_lr_ = 0, norm_ = 0;
  bool finite_ = true, finished_ = false;
};

/// The learning rate of step `step` (0-based) of `task`: eq. 3 on the shard's progress, or the
/// largest rate for a first step that asks for it, times the ramp of a late worker.
double task_learning_rate(const Task& task, int64_t step, const WorkerSettings& settings);

}  // namespace rubato
