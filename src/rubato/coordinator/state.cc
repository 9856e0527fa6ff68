// What a coordinator tells about itself, and its state as one record.
#include <algorithm>

#include "rubato/base/archive.h"
#include "rubato/coordinator/coordinator.h"

namespace rubato {

const Task* Coordinator::find_task(TaskId task) const {
  const auto it = in_flight_.find(task);
  return it == in_flight_.end() ? nullptr : &it->second.task;
}

std::vector<Task> Coordinator::tasks_in_flight() const {
  std::vector<Task> tasks;
  for (const auto& [id, flight] : in_flight_) {
    if (!flight.lost) tasks.push_back(flight.task);
  }
  return tasks;
}

std::vector<TaskId> Coordinator::tasks_awaited() const {
  std::vector<TaskId> tasks;
  for (const auto& [id, flight] : in_flight_) tasks.push_back(id);
  return tasks;
}

std::vector<TaskId> Coordinator::tasks_in_group() const {
  std::vector<TaskId> tasks;
  for (const Arrived& member : group_) tasks.push_back(member.task);
  return tasks;
}

bool Coordinator::is_connected(WorkerId worker) const {
  const auto it = workers_.find(worker);
  return it != workers_.end() && it->second.connected;
}

std::vector<WorkerId> Coordinator::connected_workers() const {
  std::vector<WorkerId> connected;
  for (const auto& [id, worker] : workers_) {
    if (worker.connected) connected.push_back(id);
  }
  return connected;
}

std::vector<WorkerStanding> Coordinator::workers() const {
  std::vector<WorkerStanding> standings;
  for (const auto& [id, worker] : workers_) {
    standings.push_back({id, worker.connected, worker.tasks, worker.speed().value_or(0)});
  }
  return standings;
}

std::optional<SetTimer> Coordinator::pending_timer() const {
  if (!timer_at_) return std::nullopt;
  return SetTimer{*timer_at_, timers_};
}

std::optional<Effect> Coordinator::answer_at_once(WorkerId worker, TaskId task) const {
  const auto index = static_cast<size_t>(task.value());
  if (task.value() >= 0 && index < fates_.size() && fates_[index] == TaskFate::kApplied) {
    return AlreadyApplied{worker, task};
  }
  // Steps and tokens of none: never a bad claim, so only what nobody may send is refused.
  const std::optional<RejectReason> reason = refuse({.worker = worker, .task = task});
  if (reason) return Reject{worker, task, *reason};
  return std::nullopt;
}

bool Coordinator::takes_wish(WorkerId id, TaskId behind) const {
  const auto it = workers_.find(id);
  if (config_.overlap == Overlap::kNone || it == workers_.end()) return false;
  const Worker& worker = it->second;
  return !worker.tasks.empty() && worker.tasks.back() == behind && !in_flight_.at(behind).asked;
}

void Coordinator::walk_state(StateWalk& walk) {
  walk_record(walk, "coordinator", [this](auto& parts) { archive(parts); });
  const auto is_known = [this](TaskId task) { return in_flight_.contains(task); };
  for (const auto& [id, worker] : workers_) {
    if (std::ranges::all_of(worker.tasks, is_known)) continue;
    walk.refuse(
        absl::DataLossError(cat("[coordinator] worker ", id, " has tasks that nobody has")));
    return;
  }
  reindex_all();
}

}  // namespace rubato
