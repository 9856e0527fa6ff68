#include "rubato/coordinator/coordinator.h"

#include <algorithm>

#include "rubato/base/archive.h"
#include "rubato/base/digest.h"

namespace rubato {
namespace {

Status invalid(std::string_view what, int64_t got, std::string_view want) {
  return absl::InvalidArgumentError(cat("[coordinator] ", what, ": got ", got, ", want ", want));
}

}  // namespace

StatusOr<Coordinator> Coordinator::make(CoordinatorConfig config, std::unique_ptr<Gate> gate,
                                        std::unique_ptr<StepPolicy> policy,
                                        std::unique_ptr<ShardSampler> sampler) {
  if (config.shard_sequences.empty()) return invalid("shards", 0, "at least 1");
  for (int64_t size : config.shard_sequences) {
    if (size < 1)
      return invalid("sequences of a shard", size,
                     "at least 1; shorten the sequences or take more text");
  }
  if (config.local_steps < 1) return invalid("local_steps", config.local_steps, "at least 1");
  if (config.batch_sequences < 1)
    return invalid("batch_sequences", config.batch_sequences, "at least 1");
  if (config.budget_steps < 1) return invalid("budget_steps", config.budget_steps, "at least 1");
  if (config.schedule_steps < 1)
    return invalid("schedule_steps", config.schedule_steps, "at least 1");
  if (config.arrivals_per_step < 1)
    return invalid("arrivals_per_step", config.arrivals_per_step, "at least 1");
  if (gate->group_mode() != GroupMode::kEach && config.arrivals_per_step > 1) {
    return absl::InvalidArgumentError(
        cat("[coordinator] got a buffer of ", config.arrivals_per_step,
            " deltas behind a gate that averages, want a free or grace gate; a round is averaged "
            "already, so leave the buffer out"));
  }
  if (gate->group_mode() != GroupMode::kEach && config.overlap != Overlap::kNone) {
    return absl::InvalidArgumentError(
        "[coordinator] got overlapping communication behind a gate that averages, want none there: "
        "a round ends when its last delta has come, and nobody may begin the next one before");
  }
  return Coordinator(std::move(config), std::move(gate), std::move(policy), std::move(sampler));
}

Coordinator::Coordinator(CoordinatorConfig config, std::unique_ptr<Gate> gate,
                         std::unique_ptr<StepPolicy> policy, std::unique_ptr<ShardSampler> sampler)
    : config_(std::move(config)),
      gate_(std::move(gate)),
      policy_(std::move(policy)),
      sampler_(std::move(sampler)),
      ledger_(config_.shard_sequences),
      door_(config_.door),
      progress_(config_.shard_sequences.size()),
      next_save_steps_(config_.save_every_steps.value_or(0)) {}

void Coordinator::step(Nanos now, const Event& event, Effects& effects) {
  now_ = std::max(now_, now);
  const size_t before = effects.size();
  std::visit([&](const auto& which) { on(which, effects); }, event);
  if (effects.size() == before) return;
  ArchiveWriter history{std::move(history_bytes_)};
  history.bytes.clear();
  history(effects_digest_);
  for (size_t i = before; i < effects.size(); ++i) {
    auto kind = static_cast<uint8_t>(effects[i].index());
    history(kind);
    std::visit([&](auto& which) { which.archive(history); }, effects[i]);
  }
  effects_digest_ = digest_of(history.bytes);
  history_bytes_ = std::move(history.bytes);
}

// ---- membership

void Coordinator::on(const WorkerJoined& event, Effects& effects) {
  Worker& worker = workers_[event.worker];
  if (worker.connected && !worker.tasks.empty()) {
    // It came back without having been declared lost: what it was doing is nobody's work any more.
    on(WorkerLost{event.worker}, effects);
  }
  worker.connected = true;
  worker.wants = true;
  if (event.ns_per_step > 0) {
    worker.recent_ns_per_step = {event.ns_per_step};
    worker.trust = SpeedTrust::kClaimed;
  }
  // One that kept its inner state goes on where it was in its ramp.
  if (!event.has_state) {
    worker.rewarm_done = started_ && config_.inner_rewarm_steps > 0 ? 0 : -1;
  }
  reindex(event.worker, worker);
  // Where there are rounds a newcomer waits for the next one; otherwise it starts unless a window
  // is open.
  if (started_ && !window_opened_ && !(rounds() && anyone_out())) dispatch_waiting(effects);
}

void Coordinator::on(const WorkerLost& event, Effects& effects) {
  const auto it = workers_.find(event.worker);
  if (it == workers_.end() || !it->second.connected) return;
  Worker& worker = it->second;
  worker.connected = false;
  worker.wants = false;
  const bool had_tasks = !worker.tasks.empty();
  for (TaskId id : worker.tasks) {
    InFlight& flight = in_flight_.at(id);
    give_back(flight.task, flight.task.ranges, flight.task.steps, id);
    flight.lost = true;
  }
  worker.tasks.clear();
  reindex(event.worker, worker);
  if (had_tasks) ++counts_.lost;
  if (window_opened_) open_window_or_wait(effects, false);
  // A round whose last outstanding member is lost before anyone finished restarts with whoever
  // waits.
  if (had_tasks && !window_opened_ && rounds() && !anyone_out()) close_window(effects);
}

void Coordinator::on(const Start&, Effects& effects) {
  if (started_) return;
  started_ = true;
  dispatch_waiting(effects);
}

void Coordinator::on(const Pause& event, Effects& effects) {
  if (paused_ == event.on) return;
  paused_ = event.on;
  // Whoever waits has waited long enough: a window that is open ends here. A round is completed.
  if (!paused_ && started_ && !(rounds() && anyone_out())) close_window(effects);
}

void Coordinator::on(const RolledBack&, Effects& effects) {
  for (auto& [id, worker] : workers_) {
    worker.connected = false;
    worker.wants = false;
    worker.tasks.clear();
  }
  for (const auto& [id, flight] : in_flight_) {
    const Task& task = flight.task;
    if (!flight.lost) give_back(task, task.ranges, task.steps, TaskId(-1));
    fates_[static_cast<size_t>(id.value())] = TaskFate::kRefused;
  }
  in_flight_.clear();
  reindex_all();
  window_opened_.reset();
  timer_at_.reset();
  if (!group_.empty()) close_window(effects);
}

// ---- the gate

void Coordinator::on(const TaskWanted& event, Effects& effects) {
  if (!takes_wish(event.worker, event.behind)) return;
  Worker& worker = workers_.at(event.worker);
  in_flight_.at(event.behind).asked = now_;
  worker.wants = true;
  reindex(event.worker, worker);
  if (waits(worker)) open_window_or_wait(effects, false);
}

void Coordinator::on(const TimerFired& event, Effects& effects) {
  if (event.timer != timers_ || !timer_at_) return;  // an older window's
  timer_at_.reset();
  if (window_opened_) open_window_or_wait(effects, true);
}

bool Coordinator::anyone_out() const {
  return std::ranges::any_of(in_flight_, [](const auto& entry) { return !entry.second.lost; });
}

int64_t Coordinator::steps_out(const Worker& worker) const {
  int64_t steps = 0;
  for (TaskId task : worker.tasks) steps += in_flight_.at(task).task.steps;
  return steps;
}

// A worker whose own tasks use up what is left of the budget gets no more before they have come.
bool Coordinator::waits(const Worker& worker) const {
  return worker.wants && worker.tasks.size() < kMostTasksInFlight &&
         steps_out(worker) < config_.budget_steps - counts_.steps;
}

// When one that does not wait should come to: a worker's own task in flight is nothing that it
// waits for itself.
std::optional<Nanos> Coordinator::expected_to_wait(const Worker& worker) const {
  if (worker.tasks.empty() || waits(worker)) return std::nullopt;
  const InFlight& first = in_flight_.at(worker.tasks.front());
  const InFlight& last = worker.tasks.size() == 1 ? first : in_flight_.at(worker.tasks.back());
  const bool needs_room = last.asked || worker.tasks.size() == kMostTasksInFlight;
  return std::max(last.asked ? *last.asked : last.task.expected_ready,
                  needs_room ? first.task.expected_arrival : 0);
}

// After every change of a worker, its tasks, or what is left of the budget where that binds it.
void Coordinator::reindex(WorkerId id, const Worker& worker) {
  index_.set(id, {.waits = waits(worker),
                  .expected = expected_to_wait(worker),
                  .reference = reference_of(worker)});
}

void Coordinator::reindex_all() {
  index_.clear();
  for (const auto& [id, worker] : workers_) reindex(id, worker);
}

bool Coordinator::open_window_or_wait(Effects& effects, bool timer_fired) {
  if (finished_) return true;
  if (index_.waiting().empty() && group_.empty()) {
    // A late delta of a worker that is gone, or everybody of the window has gone: there is no
    // window. Left open it would keep newcomers out and shorten the next one.
    window_opened_.reset();
    timer_at_.reset();
    return false;
  }
  if (!window_opened_) window_opened_ = now_;
  // What has come uses the budget up: a group that is no round is not waited for any longer.
  const bool spent = !rounds() && !group_.empty() && counts_.steps >= config_.budget_steps;
  const GateDecision decision = ask_gate(timer_fired);
  if (decision.close || spent) {
    close_window(effects);
    return true;
  }
  if (decision.wait_until != GateDecision::kNever && timer_at_ != decision.wait_until) {
    timer_at_ = decision.wait_until;
    effects.push_back(SetTimer{decision.wait_until, ++timers_});
  }
  return false;
}

// Whether a delta was its group's last one shows only when the gate has been asked, and that is
// after it was applied.
void Coordinator::mark_group_closed(Effects& effects, size_t first) {
  for (size_t i = first; i < effects.size(); ++i) {
    if (auto* apply = std::get_if<Apply>(&effects[i])) apply->closes_group = true;
  }
}

GateDecision Coordinator::ask_gate(bool timer_fired) const {
  std::vector<Nanos> arrived;
  Nanos shortest = group_.empty() ? 0 : group_.front().out;
  for (const Arrived& member : group_) {
    arrived.push_back(member.at);
    shortest = std::min(shortest, member.out);
  }
  return gate_->decide({now_, *window_opened_, index_.expected(), timer_fired, arrived, shortest});
}

void Coordinator::close_window(Effects& effects) {
  window_opened_.reset();
  timer_at_.reset();
  if (averages()) apply_group(effects);
  finish_if_spent(effects);
  dispatch_waiting(effects);
  // Last, because the state it saves holds the new tasks.
  if (!finished_ && config_.save_every_steps && counts_.steps >= next_save_steps_) {
    next_save_steps_ = (counts_.steps / *config_.save_every_steps + 1) * *config_.save_every_steps;
    effects.push_back(Save{});
  }
}

void Coordinator::finish_if_spent(Effects& effects) {
  // A round that has begun is completed: its group is applied before the end is declared.
  if (finished_ || counts_.steps < config_.budget_steps || !group_.empty()) return;
  finished_ = true;
  effects.push_back(Finished{});
}

}  // namespace rubato
