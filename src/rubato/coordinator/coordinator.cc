#include "rubato/coordinator/coordinator.h"

#include <algorithm>
#include <limits>

#include "rubato/base/archive.h"
#include "rubato/base/digest.h"
#include "rubato/base/int128.h"

namespace rubato {
namespace {

constexpr size_t kSpeedWindow = 8;  // measurements a worker's speed is the median of
// Expectations end here, 73 years: sums with a slack stay in range whatever speed a peer claims.
constexpr Nanos kLatestExpectation = std::numeric_limits<Nanos>::max() / 4;

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
  ArchiveWriter history;
  history(effects_digest_);
  for (size_t i = before; i < effects.size(); ++i) {
    auto kind = static_cast<uint8_t>(effects[i].index());
    history(kind);
    std::visit([&](auto& which) { which.archive(history); }, effects[i]);
  }
  effects_digest_ = digest_of(history.bytes);
}

// ---- membership

void Coordinator::on(const WorkerJoined& event, Effects& effects) {
  Worker& worker = workers_[event.worker];
  if (worker.connected && worker.task) {
    // It came back without having been declared lost: what it was doing is nobody's work any more.
    on(WorkerLost{event.worker}, effects);
  }
  worker.connected = true;
  worker.waiting = true;
  if (event.ns_per_step > 0) worker.recent_ns_per_step = {event.ns_per_step};
  // One that kept its inner state goes on where it was in its ramp.
  if (!event.has_state) {
    worker.rewarm_done = started_ && config_.inner_rewarm_steps > 0 ? 0 : -1;
  }
  // Under a barrier a newcomer waits for the next round; otherwise it starts unless a window is
  // open.
  if (started_ && !window_opened_ && !(averages() && anyone_out())) dispatch_waiting(effects);
}

void Coordinator::on(const WorkerLost& event, Effects& effects) {
  const auto it = workers_.find(event.worker);
  if (it == workers_.end() || !it->second.connected) return;
  Worker& worker = it->second;
  worker.connected = false;
  worker.waiting = false;
  if (!worker.task) {
    if (window_opened_) open_window_or_wait(effects, false);
    return;
  }
  InFlight& flight = in_flight_.at(*worker.task);
  give_back(flight.task, flight.task.ranges, flight.task.steps, flight.task.id);
  flight.lost = true;
  worker.task.reset();
  ++counts_.lost;
  if (window_opened_) open_window_or_wait(effects, false);
  // A round whose last outstanding member is lost before anyone finished restarts with whoever
  // waits.
  if (!window_opened_ && averages() && !anyone_out()) close_window(effects);
}

void Coordinator::on(const Start&, Effects& effects) {
  if (started_) return;
  started_ = true;
  dispatch_waiting(effects);
}

// ---- arrival

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
    release_worker(task.worker, task.id);
  } else {
    const auto it = in_flight_.find(event.task);
    InFlight flight = std::move(it->second);
    in_flight_.erase(it);
    accept(event, std::move(flight), effects);
  }
  open_window_or_wait(effects, false);
}

void Coordinator::accept(const UpdateArrived& event, InFlight flight, Effects& effects) {
  Task& task = flight.task;
  Progress& progress = progress_[static_cast<size_t>(task.shard.value())];
  const SplitRanges split = split_ranges(task.ranges, event.steps_done * config_.batch_sequences);
  const bool stale_round = averages() && task.base != Version(counts_.version);
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
    measure(event, task);
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
    group_.push_back({task.id, task.worker, task.shard, scale, event.tokens, event.steps_done});
    return;
  }
  Apply apply;
  apply.members = {{task.id, scale}};
  apply.staleness = counts_.version - task.base.value();
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
  std::ranges::sort(group_, {}, &Arrived::worker);
  const bool by_shard = gate_->group_mode() == GroupMode::kShardWeighted;
  double whole = 0;
  for (const Arrived& member : group_) {
    whole += by_shard ? static_cast<double>(ledger_.shard_size(member.shard)) : 1.0;
  }
  Apply apply;
  for (const Arrived& member : group_) {
    const double share = by_shard ? static_cast<double>(ledger_.shard_size(member.shard)) : 1.0;
    apply.members.push_back({member.task, member.scale * share / whole});
    apply.tokens += member.tokens;
    apply.steps += member.steps;
  }
  apply.closes_group = true;
  apply.moves_theta = true;
  ++counts_.version;
  group_.clear();
  effects.push_back(std::move(apply));
}

void Coordinator::measure(const UpdateArrived& event, const Task& task) {
  Worker& worker = workers_[event.worker];
  if (event.steps_done > 0 && event.train_ns > 0) {
    worker.recent_ns_per_step.push_back(std::max<Nanos>(event.train_ns / event.steps_done, 1));
    if (worker.recent_ns_per_step.size() > kSpeedWindow) {
      worker.recent_ns_per_step.erase(worker.recent_ns_per_step.begin());
    }
  }
  const Nanos sample = std::max<Nanos>(now_ - task.dispatched - event.train_ns, 0);
  worker.overhead += (sample - worker.overhead) / 4;
}

void Coordinator::release_worker(WorkerId id, TaskId task) {
  Worker& worker = workers_.at(id);
  if (worker.task != task) return;
  worker.task.reset();
  worker.waiting = worker.connected;
}

void Coordinator::give_back(const Task& task, const std::vector<DataRange>& ranges, int64_t steps,
                            TaskId by) {
  Progress& progress = progress_[static_cast<size_t>(task.shard.value())];
  progress.assigned -= steps * config_.batch_sequences;
  progress.steps -= steps;
  ledger_.give_back(task.shard, ranges, by);
}

// ---- the gate

void Coordinator::on(const TimerFired& event, Effects& effects) {
  if (event.timer != timers_ || !timer_at_) return;  // an older window's
  timer_at_.reset();
  if (window_opened_) open_window_or_wait(effects, true);
}

bool Coordinator::anyone_out() const {
  return std::ranges::any_of(in_flight_, [](const auto& entry) { return !entry.second.lost; });
}

void Coordinator::open_window_or_wait(Effects& effects, bool timer_fired) {
  if (finished_) return;
  const bool anyone_waits =
      std::ranges::any_of(workers_, [](const auto& entry) { return entry.second.waiting; });
  if (!anyone_waits && group_.empty()) {
    // A late delta of a worker that is gone, or everybody of the window has gone: there is no
    // window. Left open it would keep newcomers out and shorten the next one.
    window_opened_.reset();
    timer_at_.reset();
    return;
  }
  if (!window_opened_) window_opened_ = now_;
  std::vector<Nanos> expected;
  for (const auto& [id, flight] : in_flight_) {
    if (!flight.lost) expected.push_back(flight.task.expected_arrival);
  }
  const GateDecision decision =
      gate_->decide({now_, *window_opened_, expected, config_.slack, timer_fired});
  if (decision.close) {
    close_window(effects);
  } else if (decision.wait_until != GateDecision::kNever && timer_at_ != decision.wait_until) {
    timer_at_ = decision.wait_until;
    effects.push_back(SetTimer{decision.wait_until, ++timers_});
  }
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

// ---- dispatch

std::optional<Nanos> Coordinator::speed_of(const Worker& worker) const {
  if (worker.recent_ns_per_step.empty()) return std::nullopt;
  std::vector<Nanos> sorted = worker.recent_ns_per_step;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::ranges::nth_element(sorted, middle);
  return *middle;
}

void Coordinator::dispatch_waiting(Effects& effects) {
  if (!started_ || finished_) return;
  // No task is longer than what is left of the budget; the last round shares that out.
  int64_t max_steps = config_.budget_steps - counts_.steps;
  if (averages()) {
    const auto members =
        std::ranges::count_if(workers_, [](const auto& entry) { return entry.second.waiting; });
    max_steps = (max_steps + members - 1) / std::max<int64_t>(members, 1);
  }
  for (auto& [id, worker] : workers_) {
    if (!worker.waiting) continue;
    Task task = make_task(id, worker, max_steps);
    worker.waiting = false;
    worker.task = task.id;
    fates_.push_back(TaskFate::kOpen);
    in_flight_[task.id] = {task, false};
    effects.push_back(Dispatch{std::move(task)});
  }
}

Task Coordinator::make_task(WorkerId id, Worker& worker, int64_t max_steps) {
  // A worker nobody has measured is taken for the fastest, and is nobody's reference.
  const std::optional<Nanos> own = speed_of(worker);
  std::optional<Nanos> fastest = own;
  for (const auto& [other_id, other] : workers_) {
    const std::optional<Nanos> speed = speed_of(other);
    if (other.connected && speed) fastest = std::min(fastest.value_or(*speed), *speed);
  }
  const Nanos reference = fastest.value_or(kNanosPerSecond);
  std::vector<ShardProgress> shards;
  for (int64_t i = 0; i < ledger_.num_shards(); ++i) {
    const Progress& progress = progress_[static_cast<size_t>(i)];
    shards.push_back({ledger_.shard_size(ShardId(i)), progress.assigned, progress.visits});
  }
  Task task;
  task.id = TaskId(static_cast<int64_t>(fates_.size()));
  task.worker = id;
  task.base = Version(counts_.version);
  task.shard = sampler_->sample(shards, id, task.id, config_.seed);
  task.steps =
      std::min(policy_->steps(config_.local_steps, own.value_or(reference), reference), max_steps);
  std::vector<TaskId> superseded;
  task.ranges = ledger_.assign(task.shard, task.steps * config_.batch_sequences, superseded);
  supersede(superseded);

  Progress& progress = progress_[static_cast<size_t>(task.shard.value())];
  Int128 all = 0;
  for (int64_t size : config_.shard_sequences) all += size;
  task.lr_first = progress.steps;
  task.lr_total =
      std::max<int64_t>(static_cast<int64_t>(static_cast<Int128>(config_.schedule_steps) *
                                             ledger_.shard_size(task.shard) / all),
                        1);
  progress.assigned += task.steps * config_.batch_sequences;
  progress.steps += task.steps;
  ++progress.visits;

  if (worker.rewarm_done >= 0 && worker.rewarm_done < config_.inner_rewarm_steps) {
    task.rewarm_first = worker.rewarm_done;
    worker.rewarm_done += task.steps;
  }
  task.dispatched = now_;
  const Int128 expected =
      static_cast<Int128>(task.steps) * own.value_or(reference) + now_ + worker.overhead;
  task.expected_arrival = static_cast<Nanos>(std::min<Int128>(expected, kLatestExpectation));
  return task;
}

void Coordinator::supersede(const std::vector<TaskId>& tasks) {
  for (TaskId task : tasks) {
    if (in_flight_.erase(task) > 0) fates_[static_cast<size_t>(task.value())] = TaskFate::kRefused;
  }
}

}  // namespace rubato
