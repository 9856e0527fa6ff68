#include "rubato/rpc/timeline.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

namespace rubato {

// ---- the real clock

RealTimeline::RealTimeline(const Coordinator& coordinator, int64_t start_workers)
    : start_workers_(start_workers),
      started_(coordinator.started()),
      timer_(coordinator.pending_timer()) {}

void RealTimeline::follow(Nanos, const Effects& effects) {
  for (const Effect& effect : effects) {
    if (const auto* timer = std::get_if<SetTimer>(&effect)) timer_ = *timer;
  }
}

std::vector<TimedEvent> RealTimeline::take(Nanos clock) {
  std::vector<TimedEvent> events;
  while (!queue_.empty()) {
    Incoming& incoming = queue_.front();
    if (const auto* joined = std::get_if<WorkerJoined>(&incoming.event)) {
      joined_.insert(joined->worker);
    } else if (const auto* lost = std::get_if<WorkerLost>(&incoming.event)) {
      joined_.erase(lost->worker);
    }
    events.push_back({clock, std::move(incoming)});
    queue_.pop_front();
    if (!started_ && std::ssize(joined_) >= start_workers_) {
      started_ = true;
      events.push_back({clock, {.event = Start{}, .notes = {}, .outcome = nullptr}});
    }
  }
  if (timer_ && timer_->at <= clock) {
    events.push_back(
        {clock, {.event = TimerFired{timer_->timer}, .notes = {}, .outcome = nullptr}});
    timer_.reset();
  }
  return events;
}

std::optional<Nanos> RealTimeline::next_look() const {
  if (!queue_.empty()) return 0;
  if (timer_) return timer_->at;
  return std::nullopt;
}

std::vector<Incoming> RealTimeline::give_up() {
  std::vector<Incoming> rest(std::make_move_iterator(queue_.begin()),
                             std::make_move_iterator(queue_.end()));
  queue_.clear();
  return rest;
}

// ---- the virtual clock

VirtualTimeline::VirtualTimeline(const Coordinator& coordinator, std::vector<ScriptedWorker> script,
                                 const Payload& payload, Nanos now)
    : script_(std::move(script)),
      overlap_(coordinator.config().overlap),
      started_(coordinator.started()) {
  for (const ScriptedWorker& worker : script_)
    clocks_.emplace_back(worker.link, worker.ns_per_step, overlap_, payload);
  // What has happened is behind `now`; before the start nothing has.
  const auto is_ahead = [&](Nanos at) { return !started_ || at > now; };
  for (size_t i = 0; i < script_.size(); ++i) {
    const ScriptedWorker& worker = script_[i];
    const auto id = static_cast<int64_t>(i);
    if (is_ahead(worker.join_at) && !coordinator.is_connected(WorkerId(id)))
      pending_.insert({worker.join_at, Kind::kJoin, id, TaskId()});
    if (worker.leave_at && is_ahead(*worker.leave_at))
      pending_.insert({*worker.leave_at, Kind::kLeave, id, TaskId()});
    if (worker.return_at && is_ahead(*worker.return_at))
      pending_.insert({*worker.return_at, Kind::kJoin, id, TaskId()});
  }
  for (const Task& task : coordinator.tasks_in_flight()) expect_arrival(task);
  if (const std::optional<SetTimer> timer = coordinator.pending_timer())
    pending_.insert({timer->at, Kind::kTimer, timer->timer, TaskId()});
}

void VirtualTimeline::expect_arrival(const Task& task) {
  const auto who = static_cast<size_t>(task.worker.value());
  if (who >= script_.size()) return;  // not in the script: its time never comes
  const TaskTimes times = clocks_[who].plan(task.dispatched, task.steps);
  pending_.insert({times.arrives, Kind::kArrival, task.worker.value(), task.id});
  if (times.asks < times.arrives)
    pending_.insert({times.asks, Kind::kWish, task.worker.value(), task.id});
}

void VirtualTimeline::add(Incoming incoming) {
  if (const auto* joined = std::get_if<WorkerJoined>(&incoming.event)) {
    const WorkerId worker = joined->worker;
    joined_.insert_or_assign(worker, std::move(incoming));
  } else if (const auto* update = std::get_if<UpdateArrived>(&incoming.event)) {
    const TaskId task = update->task;
    if (is_expected(task)) {
      arrived_.insert_or_assign(task, std::move(incoming));
    } else {
      hopeless_.push_back(std::move(incoming));
    }
  }
  // A worker that is gone in reality is late: the script alone says who is lost.
}

bool VirtualTimeline::is_expected(TaskId task) const {
  return std::ranges::any_of(pending_, [&](const Pending& event) {
    return event.kind == Kind::kArrival && event.task == task;
  });
}

void VirtualTimeline::follow(Nanos, const Effects& effects) {
  for (const Effect& effect : effects) {
    if (const auto* dispatch = std::get_if<Dispatch>(&effect)) expect_arrival(dispatch->task);
    if (const auto* timer = std::get_if<SetTimer>(&effect))
      pending_.insert({timer->at, Kind::kTimer, timer->timer, TaskId()});
  }
}

std::optional<Incoming> VirtualTimeline::incoming_of(const Pending& event) {
  const WorkerId worker(event.who);
  switch (event.kind) {
    case Kind::kTimer:
      return Incoming{.event = TimerFired{event.who}, .notes = {}, .outcome = nullptr};
    case Kind::kLeave: {
      // The simulator gives such a worker's task up: its delta never comes.
      std::erase_if(pending_, [&](const Pending& other) {
        if (other.who != event.who) return false;
        if (other.kind == Kind::kWish) return true;
        if (other.kind != Kind::kArrival) return false;
        if (auto found = arrived_.extract(other.task); !found.empty())
          hopeless_.push_back(std::move(found.mapped()));
        return true;
      });
      joined_.erase(worker);
      clocks_[static_cast<size_t>(event.who)].reset();
      return Incoming{.event = WorkerLost{worker}, .notes = {}, .outcome = nullptr};
    }
    case Kind::kWish:
      return Incoming{.event = TaskWanted{worker, event.task}, .notes = {}, .outcome = nullptr};
    case Kind::kJoin: {
      auto found = joined_.extract(worker);
      if (found.empty()) return std::nullopt;
      auto& joined = std::get<WorkerJoined>(found.mapped().event);
      joined.ns_per_step = script_[static_cast<size_t>(event.who)].ns_per_step;
      joined.has_state = false;
      return std::move(found.mapped());
    }
    case Kind::kArrival: {
      auto found = arrived_.extract(event.task);
      if (found.empty()) return std::nullopt;
      auto& update = std::get<UpdateArrived>(found.mapped().event);
      // Steps that cannot be are the door's business, whatever time they would take.
      if (__builtin_mul_overflow(update.steps_done,
                                 script_[static_cast<size_t>(event.who)].ns_per_step,
                                 &update.train_ns)) {
        update.train_ns = std::numeric_limits<Nanos>::max();
      }
      return std::move(found.mapped());
    }
  }
  return std::nullopt;
}

std::vector<TimedEvent> VirtualTimeline::take(Nanos) {
  if (pending_.empty()) return {};
  const Pending next = *pending_.begin();
  std::optional<Incoming> incoming = incoming_of(next);
  if (!incoming) return {};
  pending_.erase(next);
  std::vector<TimedEvent> events;
  events.push_back({next.at, std::move(*incoming)});
  // Training starts once everybody who joins at the first instant is there.
  const bool more_now = !pending_.empty() && pending_.begin()->at == next.at;
  if (!started_ && !more_now) {
    started_ = true;
    events.push_back({next.at, {.event = Start{}, .notes = {}, .outcome = nullptr}});
  }
  return events;
}

std::vector<Incoming> VirtualTimeline::take_hopeless() { return std::exchange(hopeless_, {}); }

std::vector<Incoming> VirtualTimeline::give_up() {
  std::vector<Incoming> rest = take_hopeless();
  for (auto& [task, incoming] : arrived_) rest.push_back(std::move(incoming));
  for (auto& [worker, incoming] : joined_) rest.push_back(std::move(incoming));
  arrived_.clear();
  joined_.clear();
  return rest;
}

}  // namespace rubato
