#include "rubato/worker/clockwork.h"

#include <functional>

namespace rubato {

Clockwork::Clockwork(std::span<const SimWorker> fleet, Overlap overlap, const Payload& payload) {
  for (const SimWorker& worker : fleet) {
    const auto id = static_cast<int64_t>(clocks_.size());
    clocks_.emplace_back(worker.link, worker.ns_per_step, overlap, payload);
    ns_per_step_.push_back(worker.ns_per_step);
    push({worker.join_at, Kind::kJoin, id, TaskId()});
    if (worker.leave_at) push({*worker.leave_at, Kind::kLeave, id, TaskId()});
    if (worker.return_at) push({*worker.return_at, Kind::kJoin, id, TaskId()});
  }
}

void Clockwork::push(const Entry& entry) {
  queue_.push_back(entry);
  std::ranges::push_heap(queue_, std::greater());
}

Clockwork::Entry Clockwork::take() {
  std::ranges::pop_heap(queue_, std::greater());
  const Entry entry = queue_.back();
  queue_.pop_back();
  return entry;
}

Event Clockwork::event_of(const Entry& entry) const {
  const WorkerId worker(entry.who);
  switch (entry.kind) {
    case Kind::kArrival:
      break;
    case Kind::kLeave:
      return WorkerLost{worker};
    case Kind::kJoin:
      return WorkerJoined{worker, ns_per_step_[static_cast<size_t>(entry.who)], false};
    case Kind::kWish:
      return TaskWanted{worker, entry.task};
    case Kind::kTimer:
      return TimerFired{entry.who};
  }
  RUBATO_CHECK(false, "an arrival has facts that its driver knows");
}

TaskTimes Clockwork::dispatch(const Task& task, Nanos now) {
  const int64_t who = task.worker.value();
  const TaskTimes times = clocks_[static_cast<size_t>(who)].plan(now, task.steps);
  push({times.arrives, Kind::kArrival, who, task.id});
  if (times.asks < times.arrives) push({times.asks, Kind::kWish, who, task.id});
  return times;
}

std::vector<TaskId> Clockwork::lose(WorkerId worker) {
  std::vector<TaskId> tasks;
  std::erase_if(queue_, [&](const Entry& entry) {
    const bool arrives = entry.kind == Kind::kArrival;
    if (entry.who != worker.value() || (!arrives && entry.kind != Kind::kWish)) return false;
    if (arrives) tasks.push_back(entry.task);
    return true;
  });
  std::ranges::make_heap(queue_, std::greater());
  std::ranges::sort(tasks);
  clocks_[static_cast<size_t>(worker.value())].reset();
  return tasks;
}

std::vector<TaskId> Clockwork::tasks_to_arrive() const {
  std::vector<TaskId> tasks;
  for (const Entry& entry : queue_) {
    if (entry.kind == Kind::kArrival) tasks.push_back(entry.task);
  }
  return tasks;
}

}  // namespace rubato
