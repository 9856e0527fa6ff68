// What becomes of a delta that has come: refused, discarded, applied or held for its group; and
// what its way tells about its worker.
#include <algorithm>

#include "rubato/coordinator/coordinator.h"

namespace rubato {

std::optional<RejectReason> Coordinator::refuse(const UpdateArrived& event) const {
  const auto it = in_flight_.find(event.task);
  if (it == in_flight_.end()) {
    const bool known =
        event.task.value() >= 0 && event.task.value() < static_cast<int64_t>(fates_.size());
    return known ? RejectReason::kSuperseded : RejectReason::kUnknownTask;
  }
  const Task& task = it->second.task;
  if (task.worker != event.worker) return RejectReason::kWrongWorker;
  const int64_t tokens_per_step = config_.batch_sequences * config_.tokens_per_sequence;
  if (event.steps_done < 0 || event.steps_done > task.steps || event.train_ns < 0 ||
      event.tokens != event.steps_done * tokens_per_step) {
    return RejectReason::kBadClaim;
  }
  if (finished_) return RejectReason::kFinished;
  return std::nullopt;
}

void Coordinator::on(const UpdateArrived& event, Effects& effects) {
  const size_t first = effects.size();
  const bool known =
      event.task.value() >= 0 && event.task.value() < static_cast<int64_t>(fates_.size());
  if (known && fates_[static_cast<size_t>(event.task.value())] == TaskFate::kApplied) {
    effects.push_back(AlreadyApplied{event.worker, event.task});
    return;
  }
  if (const std::optional<RejectReason> reason = refuse(event)) {
    ++counts_.rejected;
    effects.push_back(Reject{event.worker, event.task, *reason});
    // A claim that cannot be is the end of that task; every other refusal leaves the owner's task
    // alone.
    if (reason != RejectReason::kBadClaim) return;
    const auto it = in_flight_.find(event.task);
    if (it->second.lost) return;
    const Task task = std::move(it->second.task);
    in_flight_.erase(it);
    fates_[static_cast<size_t>(task.id.value())] = TaskFate::kRefused;
    progress_[static_cast<size_t>(task.shard.value())].assigned -=
        task.steps * config_.batch_sequences;
    progress_[static_cast<size_t>(task.shard.value())].steps -= task.steps;
    ledger_.reject(task.shard, task.ranges);
    workers_.at(task.worker).trust = SpeedTrust::kDoubted;
    release_worker(task.worker, task.id);
  } else {
    const auto it = in_flight_.find(event.task);
    InFlight flight = std::move(it->second);
    in_flight_.erase(it);
    accept(event, std::move(flight), effects);
  }
  // No task is longer than H: only behind that does what is left of the budget say who waits.
  const bool budget_binds = config_.budget_steps - counts_.steps <= config_.local_steps;
  budget_binds ? reindex_all() : reindex(event.worker, workers_.at(event.worker));
  if (open_window_or_wait(effects, false)) mark_group_closed(effects, first);
}

void Coordinator::accept(const UpdateArrived& event, InFlight flight, Effects& effects) {
  Task& task = flight.task;
  Progress& progress = progress_[static_cast<size_t>(task.shard.value())];
  const SplitRanges split = split_ranges(task.ranges, event.steps_done * config_.batch_sequences);
  const bool stale_round = rounds() && task.base != Version(counts_.version);
  TaskFate& fate = fates_[static_cast<size_t>(task.id.value())];
  fate = TaskFate::kRefused;
  if (flight.lost) {
    if (stale_round || !ledger_.reclaim(task.shard, split.prefix, task.id)) {
      ++counts_.rejected;
      effects.push_back(Reject{event.worker, task.id, RejectReason::kSuperseded});
      return;
    }
    progress.assigned += event.steps_done * config_.batch_sequences;
    progress.steps += event.steps_done;
  } else {
    measure(event, flight);
    release_worker(task.worker, task.id);
    if (!split.rest.empty()) give_back(task, split.rest, task.steps - event.steps_done, TaskId(-1));
  }
  if (event.steps_done == 0) {
    ++counts_.rejected;
    effects.push_back(Reject{event.worker, task.id, RejectReason::kEmpty});
    return;
  }

  const Door::Verdict verdict = door_.judge(event.norm, event.finite, event.steps_done);
  if (!verdict.pass) {
    ++counts_.rejected;
    effects.push_back(Reject{event.worker, task.id, verdict.reason});
    progress.assigned -= event.steps_done * config_.batch_sequences;
    progress.steps -= event.steps_done;
    ledger_.reject(task.shard, split.prefix);
    return;
  }
  if (!flight.lost) workers_.at(task.worker).trust = SpeedTrust::kMeasured;
  fate = TaskFate::kApplied;
  counts_.steps += event.steps_done;
  counts_.tokens += event.tokens;
  ++counts_.arrivals;
  const int64_t staleness = counts_.version - task.base.value();
  if (config_.max_staleness && staleness > *config_.max_staleness) {
    ++counts_.discarded;
    ledger_.discard(task.shard, split.prefix);
    effects.push_back(Discard{task.id, staleness});
  } else {
    ledger_.apply(task.shard, split.prefix);
    fold_in(event, task, verdict.scale, effects);
  }
  finish_if_spent(effects);
}

void Coordinator::fold_in(const UpdateArrived& event, const Task& task, double scale,
                          Effects& effects) {
  if (averages()) {
    group_.push_back({.task = task.id,
                      .worker = task.worker,
                      .shard = task.shard,
                      .scale = scale,
                      .tokens = event.tokens,
                      .steps = event.steps_done,
                      .staleness = counts_.version - task.base.value(),
                      .at = now_,
                      .out = now_ - task.dispatched});
    return;
  }
  Apply apply;
  apply.staleness = counts_.version - task.base.value();
  apply.members = {{task.id, scale, apply.staleness}};
  apply.tokens = event.tokens;
  apply.steps = event.steps_done;
  apply.moves_theta = ++held_arrivals_ == config_.arrivals_per_step;
  if (apply.moves_theta) {
    held_arrivals_ = 0;
    ++counts_.version;
  }
  effects.push_back(std::move(apply));
}

void Coordinator::apply_group(Effects& effects) {
  if (group_.empty()) return;
  // By worker; one that was lost may have two, the late one and its next.
  std::ranges::sort(group_, {}, [](const Arrived& m) { return std::pair(m.worker, m.task); });
  double whole = 0;
  for (const Arrived& member : group_) whole += share_of(member);
  Apply apply;
  for (const Arrived& member : group_) {
    apply.members.push_back(
        {member.task, member.scale * share_of(member) / whole, member.staleness});
    apply.tokens += member.tokens;
    apply.steps += member.steps;
    apply.staleness = std::max(apply.staleness, member.staleness);
  }
  apply.closes_group = true;
  apply.moves_theta = true;
  ++counts_.version;
  group_.clear();
  effects.push_back(std::move(apply));
}

double Coordinator::share_of(const Arrived& member) const {
  switch (gate_->group_mode()) {
    case GroupMode::kShardWeighted:
      return static_cast<double>(ledger_.shard_size(member.shard));
    case GroupMode::kTokenWeighted:
      return static_cast<double>(member.tokens);
    default:
      return 1;
  }
}

void Coordinator::measure(const UpdateArrived& event, const InFlight& flight) {
  Worker& worker = workers_.at(event.worker);
  const Nanos ready = flight.asked.value_or(now_);
  const Nanos out = ready - flight.task.dispatched;
  if (event.steps_done > 0 && event.train_ns > 0) {
    worker.recent_ns_per_step.push_back(std::max<Nanos>(event.train_ns / event.steps_done, 1));
    if (worker.recent_ns_per_step.size() > kSpeedWindow) {
      worker.recent_ns_per_step.erase(worker.recent_ns_per_step.begin());
    }
    worker.pace = out / event.steps_done;
  }
  const Nanos sample = std::max<Nanos>(out - event.train_ns, 0);
  worker.overhead += (sample - worker.overhead) / 4;
  worker.travel += (now_ - ready - worker.travel) / 4;
  worker.trust = SpeedTrust::kDoubted;  // until the door has seen it
}

void Coordinator::release_worker(WorkerId id, TaskId task) {
  Worker& worker = workers_.at(id);
  // Who has delivered its last task has nothing left to train, whatever still travels; who has
  // another one goes on with that.
  if (worker.tasks.back() == task) worker.wants = true;
  std::erase(worker.tasks, task);
}

void Coordinator::give_back(const Task& task, const std::vector<DataRange>& ranges, int64_t steps,
                            TaskId by) {
  Progress& progress = progress_[static_cast<size_t>(task.shard.value())];
  progress.assigned -= steps * config_.batch_sequences;
  progress.steps -= steps;
  ledger_.give_back(task.shard, ranges, by);
}

}  // namespace rubato
