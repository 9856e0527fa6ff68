// When the workers of a cluster trained and waited, as far as the journal knows: it has a task's
// dispatch, its arrival, and how long the worker says that its steps took, but not when in between
// they were made. So training is booked as early as it can have been:
//   train = [begin, begin + train_ns), begin = max(dispatch, end of its worker's training before)
//   wait  = everything between two such spans, and from joining to the first
// Spans of one worker never overlap, whatever travels beside them, and their sums are what the
// worker reports. Where nothing takes time to travel they are the simulator's.
#pragma once

#include <map>
#include <optional>
#include <span>

#include "rubato/coordinator/task.h"
#include "rubato/metrics/sink.h"

namespace rubato {

class Timesheet {
 public:
  /// `worker` has nothing to train from `now` on, unless it had nothing already.
  void join(WorkerId worker, Nanos now);
  /// Tasks of a worker come in the order in which it trains them.
  void dispatch(const Task& task, MetricsSink& sink);
  /// The delta of `task` is there; `train_ns` is its worker's claim and is cut at `now`.
  void arrive(const Task& task, Nanos now, Nanos train_ns, MetricsSink& sink);
  /// `worker` is lost, and with it `tasks`, which are all its own, by id.
  void lose(WorkerId worker, Nanos now, std::span<const Task> tasks, MetricsSink& sink);

 private:
  struct Hours {
    Nanos since = 0;  // that are booked: what comes behind is neither training nor waiting yet
    TaskId task;      // the last that is over
    ShardId shard;
    int64_t in_flight = 0;  // tasks dispatched that have not arrived
  };
  static void wait_until(WorkerId worker, Hours& hours, Nanos end, MetricsSink& sink);

  std::map<WorkerId, Hours> hours_;  // of connected workers
};

}  // namespace rubato
