#include "rubato/rpc/timesheet.h"

#include <algorithm>

namespace rubato {

void Timesheet::join(WorkerId worker, Nanos now) {
  idle_.try_emplace(worker, Idle{.since = now, .task = TaskId(), .shard = ShardId()});
}

void Timesheet::wait_until(WorkerId worker, Nanos end, MetricsSink& sink) {
  const auto found = idle_.find(worker);
  if (found == idle_.end() || found->second.since >= end) return;
  const Idle& idle = found->second;
  sink.on_span({worker, idle.task, idle.shard, idle.since, end, SpanKind::kWait});
}

void Timesheet::arrive(const Task& task, Nanos now, Nanos train_ns, MetricsSink& sink) {
  const auto before = idle_.find(task.worker);
  Nanos begin = task.dispatched;
  if (before != idle_.end()) begin = std::max(begin, before->second.since);
  begin = std::min(begin, now);
  const Nanos end = begin + std::clamp<Nanos>(train_ns, 0, now - begin);
  wait_until(task.worker, begin, sink);
  if (begin < end) sink.on_span({task.worker, task.id, task.shard, begin, end, SpanKind::kTrain});
  idle_.insert_or_assign(task.worker, Idle{.since = end, .task = task.id, .shard = task.shard});
}

void Timesheet::lose(WorkerId worker, Nanos now, std::span<const Task> tasks, MetricsSink& sink) {
  wait_until(worker, tasks.empty() ? now : tasks.front().dispatched, sink);
  idle_.erase(worker);
  for (const Task& task : tasks)
    sink.on_span({worker, task.id, task.shard, task.dispatched, now, SpanKind::kLost});
}

}  // namespace rubato
