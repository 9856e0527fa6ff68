// What simulated workers send: each pseudo-gradient through the run's codec with its worker's error
// feedback, and what the coordinator measures when it arrives, as a cluster's reception does. With
// a lossless codec a delta travels as it is: nothing is encoded, copied or kept.
// Memory: 2 P floats a worker (error feedback) and the encodings that wait; none when lossless.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rubato/codec/error_feedback.h"
#include "rubato/outer/delta_source.h"
#include "rubato/worker/task_run.h"

namespace rubato {

/// A pseudo-gradient at the coordinator.
struct SentDelta {
  std::string encoded;  // empty when lossless: the task's run has the values
  double norm = 0;      // L2, of the values as they are decoded
  bool finite = true;
};

class Uplink {
 public:
  /// For `workers` workers and deltas of `num_params` values.
  Uplink(std::shared_ptr<const Codec> codec, int64_t num_params, size_t workers);

  const Codec& codec() const { return *codec_; }
  /// The delta of a finished run. What became of its worker's last one has been settled. `pool` may
  /// be null and never changes a bit.
  SentDelta send(const TaskRun& run, ThreadPool* pool);
  /// The coordinator has answered: `counts` unless it rejected or discarded the delta.
  void settle(WorkerId worker, bool counts);
  /// The worker is lost, with what its codec left over.
  void lose(WorkerId worker);
  /// What the coordinator folds in; reads `run` and `sent`, which outlive it.
  std::unique_ptr<DeltaSource> values(const TaskRun& run, const SentDelta& sent) const;

  /// Of all workers; between settle() and send().
  void walk_state(StateWalk& walk);
  /// Of a delta that has `arrived` and waits for its group, or is still to be sent.
  void walk_sent(StateWalk& walk, const TaskRun& run, bool arrived, SentDelta& sent) const;

 private:
  ErrorFeedback& feedback_of(WorkerId worker) {
    return feedback_[static_cast<size_t>(worker.value())];
  }

  std::shared_ptr<const Codec> codec_;
  int64_t num_params_;
  std::vector<ErrorFeedback> feedback_;  // by worker; empty when lossless
};

}  // namespace rubato
