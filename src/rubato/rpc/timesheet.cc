#include "rubato/rpc/timesheet.h"

#include <algorithm>

namespace rubato {

void Timesheet::join(WorkerId worker, Nanos now) {
  hours_.try_emplace(worker, Hours{.since = now, .task = TaskId(), .shard = ShardId()});
}

void Timesheet::wait_until(WorkerId worker, Hours& hours, Nanos end, MetricsSink& sink) {
  if (hours.since >= end) return;
  sink.on_span({worker, hours.task, hours.shard, hours.since, end, SpanKind::kWait});
  hours.since = end;
}

void Timesheet::dispatch(const Task& task, MetricsSink& sink) {
  // After a restart nobody knows what was before.
  join(task.worker, task.dispatched);
  Hours& hours = hours_.at(task.worker);
  // Behind another one it is not known yet when that is over.
  if (hours.in_flight == 0) wait_until(task.worker, hours, task.dispatched, sink);
  ++hours.in_flight;
}

void Timesheet::arrive(const Task& task, Nanos now, Nanos train_ns, MetricsSink& sink) {
  Hours& hours = hours_.at(task.worker);
  wait_until(task.worker, hours, task.dispatched, sink);
  const Nanos begin = std::min(hours.since, now);
  const Nanos end = begin + std::clamp<Nanos>(train_ns, 0, now - begin);
  if (begin < end) sink.on_span({task.worker, task.id, task.shard, begin, end, SpanKind::kTrain});
  hours = {.since = end, .task = task.id, .shard = task.shard, .in_flight = hours.in_flight - 1};
}

void Timesheet::lose(WorkerId worker, Nanos now, std::span<const Task> tasks, MetricsSink& sink) {
  if (const auto found = hours_.find(worker); found != hours_.end()) {
    const Nanos end = tasks.empty() ? now : tasks.front().dispatched;
    wait_until(worker, found->second, end, sink);
    hours_.erase(found);
  }
  for (const Task& task : tasks)
    sink.on_span({worker, task.id, task.shard, task.dispatched, now, SpanKind::kLost});
}

}  // namespace rubato
