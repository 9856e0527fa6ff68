#include "rubato/sim/simulation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rubato/base/archive.h"

namespace rubato {
namespace {

// A hundredth of what the clock holds, three years: sums of times stay in its range.
constexpr Nanos kLongestTask = std::numeric_limits<Nanos>::max() / 100;
// What is refused moves neither theta nor the budget, so a door that refuses every norm would keep
// the run going for ever. Many times the window of its median: what comes later is no better.
constexpr int64_t kHopelessRefusals = 1000;

Status divergence(std::string_view what, int64_t local_steps) {
  return absl::AbortedError(
      cat("[train] got ", what, " not finite after ", local_steps,
          " local steps of the run, want numbers; lower lr.max or the outer rule's lr, or raise "
          "lr.warmup_steps"));
}

}  // namespace

Simulation::Simulation(SimulationConfig config, const Workload& workload, MetricsSink& sink)
    : config_(std::move(config)), workload_(workload), sink_(sink) {}

Simulation::~Simulation() = default;

StatusOr<std::unique_ptr<Simulation>> Simulation::make(SimulationConfig config,
                                                       const Workload& workload,
                                                       std::vector<float> theta,
                                                       MetricsSink& sink) {
  if (config.fleet.empty())
    return absl::InvalidArgumentError("[fleet] got no workers, want at least one");
  for (const SimWorker& worker : config.fleet) {
    if (worker.ns_per_step <= 0)
      return absl::InvalidArgumentError(
          cat("[fleet] got ", to_seconds(worker.ns_per_step), " s per step, want more than 0 s"));
    const int64_t local_steps = std::max<int64_t>(config.coordinator.local_steps, 1);
    if (worker.ns_per_step > kLongestTask / local_steps) {
      return absl::InvalidArgumentError(
          cat("[fleet] got ", local_steps, " steps of ", to_seconds(worker.ns_per_step),
              " s a task, want at most ", to_seconds(kLongestTask), " s"));
    }
    if (worker.return_at && (!worker.leave_at || *worker.return_at < *worker.leave_at)) {
      return absl::InvalidArgumentError(
          "[fleet] got a worker that returns before it leaves, want leave_s <= return_s");
    }
  }
  RUBATO_RETURN_IF_ERROR(config.worker.learning_rate.validate());
  std::unique_ptr<Simulation> sim(new Simulation(std::move(config), workload, sink));
  SimulationConfig& c = sim->config_;

  c.coordinator.batch_sequences = c.worker.batch_sequences;
  c.coordinator.inner_rewarm_steps = c.worker.inner_rewarm_steps;
  DataMap data(workload.shard_sequences(), c.merged_data, c.coordinator.seed);
  RUBATO_ASSIGN_OR_RETURN(Machine machine, make_machine(c, workload.layout(), data.logical_shards(),
                                                        workload.tokens_per_sequence()));
  sim->coordinator_ = std::move(machine.coordinator);
  sim->pool_ = make_update_pool(c.threads, workload.layout().size());
  sim->server_ =
      std::make_unique<ServerModel>(std::move(theta), std::move(machine.chain), sim->pool_.get());
  RUBATO_ASSIGN_OR_RETURN(sim->executors_,
                          Executors::make(workload, c.worker, std::move(data), c.threads,
                                          static_cast<int>(c.fleet.size())));
  sim->idle_.resize(c.fleet.size());
  for (size_t i = 0; i < c.fleet.size(); ++i) {
    const SimWorker& worker = c.fleet[i];
    const auto id = static_cast<int64_t>(i);
    sim->inner_.push_back(workload.optimizer().make_state(workload.layout().size()));
    sim->queue_.insert({worker.join_at, Kind::kJoin, id, TaskId()});
    if (worker.leave_at) sim->queue_.insert({*worker.leave_at, Kind::kLeave, id, TaskId()});
    if (worker.return_at) sim->queue_.insert({*worker.return_at, Kind::kJoin, id, TaskId()});
  }
  return sim;
}

int64_t Simulation::local_steps() const {
  return counts().steps * std::max<int64_t>(static_cast<int64_t>(config_.stands_for.size()), 1);
}

int64_t Simulation::local_steps_made() const {
  int64_t steps = 0;
  for (const Pending& event : queue_) {
    if (event.kind == Kind::kArrival) steps += flights_.at(event.task).run->steps_done();
  }
  return local_steps() + steps * std::max<int64_t>(std::ssize(config_.stands_for), 1);
}

StatusOr<StopReason> Simulation::run(const SimulationHooks& hooks) {
  const auto stop_asked = [&] { return hooks.stop != nullptr && hooks.stop->load(); };
  if (!started_ && !last_eval_) RUBATO_RETURN_IF_ERROR(evaluate(hooks));
  executors_->resume();
  while (!coordinator_->finished()) {
    if (stop_asked()) {
      executors_->pause();
      return StopReason::kStopped;
    }
    if (queue_.empty())
      return absl::FailedPreconditionError(
          "[train] got a fleet that has left, want somebody to come back; see fleet.leave_s");
    // Training starts once everybody who joins at the first instant is there.
    if (!started_ && queue_.begin()->kind != Kind::kJoin) {
      return absl::FailedPreconditionError(
          "[train] got nobody at the start, want a worker that joins before the first one leaves");
    }
    const Pending event = *queue_.begin();
    if (event.kind == Kind::kArrival) {
      const Status waited = wait_for(*flights_.at(event.task).run, hooks);
      if (absl::IsCancelled(waited)) continue;
    }
    queue_.erase(queue_.begin());
    now_ = event.at;
    RUBATO_RETURN_IF_ERROR(process(event, hooks));
    const bool more_at_first_instant = !queue_.empty() && queue_.begin()->at == now_;
    if (!started_ && !more_at_first_instant) {
      started_ = true;
      Effects effects;
      coordinator_->step(now_, Start{}, effects);
      RUBATO_RETURN_IF_ERROR(execute(effects, hooks));
    }
    RUBATO_RETURN_IF_ERROR(sink_.error());
  }
  executors_->pause();
  return StopReason::kFinished;
}

Status Simulation::wait_for(TaskRun& run, const SimulationHooks& hooks) {
  while (!executors_->wait_for(&run, std::chrono::milliseconds(50))) {
    if (hooks.stop != nullptr && hooks.stop->load()) return absl::CancelledError("stop asked for");
  }
  return absl::OkStatus();
}

Status Simulation::process(const Pending& event, const SimulationHooks& hooks) {
  const WorkerId id(event.who);
  Effects effects;
  switch (event.kind) {
    case Kind::kArrival:
      return arrive(event, hooks);
    case Kind::kTimer:
      coordinator_->step(now_, TimerFired{event.who}, effects);
      break;
    case Kind::kJoin:
      idle_[static_cast<size_t>(event.who)].since = now_;
      sink_.on_event({now_, cat("worker ", event.who, " joined")});
      coordinator_->step(
          now_, WorkerJoined{id, config_.fleet[static_cast<size_t>(event.who)].ns_per_step, false},
          effects);
      break;
    case Kind::kLeave: {
      sink_.on_event({now_, cat("worker ", event.who, " was lost")});
      record_wait(id);
      idle_[static_cast<size_t>(event.who)].since.reset();
      const auto in_flight = std::ranges::find_if(
          queue_, [&](const Pending& p) { return p.kind == Kind::kArrival && p.who == event.who; });
      if (in_flight != queue_.end()) {
        record_training(flights_.at(in_flight->task).run->task(), now_, SpanKind::kLost);
        drop_flight(in_flight->task);
        queue_.erase(in_flight);
      }
      inner_[static_cast<size_t>(event.who)] =
          workload_.optimizer().make_state(workload_.layout().size());
      coordinator_->step(now_, WorkerLost{id}, effects);
      break;
    }
  }
  return execute(effects, hooks);
}

Status Simulation::arrive(const Pending& event, const SimulationHooks& hooks) {
  Flight& flight = flights_.at(event.task);
  const TaskRun& run = *flight.run;
  flight.arrived = now_;
  const WorkerId id(event.who);
  if (!run.finite()) {
    return divergence(cat(std::isfinite(run.mean_loss()) ? "parameters" : "a loss", " of worker ",
                          id, " in task ", event.task),
                      local_steps());
  }
  record_training(run.task(), now_, SpanKind::kTrain);
  idle_[static_cast<size_t>(event.who)] = {now_, event.task, run.task().shard};
  progress_.train_loss = run.mean_loss();
  progress_.lr = run.last_lr();

  Effects effects;
  coordinator_->step(
      now_,
      UpdateArrived{
          .worker = id,
          .task = event.task,
          .steps_done = run.steps_done(),
          .tokens = run.tokens(),
          .train_ns = run.steps_done() * config_.fleet[static_cast<size_t>(event.who)].ns_per_step,
          .norm = run.norm(),
          .finite = run.finite()},
      effects);
  RUBATO_RETURN_IF_ERROR(execute(effects, hooks));
  RUBATO_RETURN_IF_ERROR(check_door(id, effects));
  progress_.counts = coordinator_->counts();
  progress_.virtual_time = now_;
  progress_.last_eval = last_eval_;
  if (hooks.progress) hooks.progress(progress_);
  return absl::OkStatus();
}

Status Simulation::check_door(WorkerId id, const Effects& effects) {
  const bool refused = std::ranges::any_of(effects, [](const Effect& effect) {
    const auto* reject = std::get_if<Reject>(&effect);
    return reject != nullptr && reject->reason == RejectReason::kNormTooLarge;
  });
  refused_norms_ = refused ? refused_norms_ + 1 : 0;
  if (refused_norms_ < kHopelessRefusals) return absl::OkStatus();
  return absl::FailedPreconditionError(
      cat("[door] got ", refused_norms_, " pseudo-gradients in a row that it refused, the last of ",
          "worker ", id, ": ", to_string(RejectReason::kNormTooLarge),
          "; want one that passes: door.norm_action = clip or off, or a larger "
          "door.norm_multiple"));
}

Status Simulation::execute(const Effects& effects, const SimulationHooks& hooks) {
  for (const Effect& effect : effects) {
    if (const auto* apply_effect = std::get_if<Apply>(&effect)) {
      apply(*apply_effect);
      RUBATO_RETURN_IF_ERROR(evaluate_if_due(hooks));
    } else if (const auto* discard = std::get_if<Discard>(&effect)) {
      record(flights_.at(discard->task), discard->staleness, "discarded");
      drop_flight(discard->task);
      RUBATO_RETURN_IF_ERROR(evaluate_if_due(hooks));
    } else if (const auto* reject = std::get_if<Reject>(&effect)) {
      record(flights_.at(reject->task), 0, cat("rejected:", to_string(reject->reason)));
      drop_flight(reject->task);
    } else if (const auto* next = std::get_if<Dispatch>(&effect)) {
      dispatch(next->task);
    } else if (const auto* timer = std::get_if<SetTimer>(&effect)) {
      queue_.insert({timer->at, Kind::kTimer, timer->timer, TaskId()});
    } else if (std::holds_alternative<Save>(effect)) {
      save_due_ = true;
    }
  }
  // Saved when the effects of the step are complete, so that the state is one a later step can
  // start from.
  if (save_due_ && hooks.save) {
    save_due_ = false;
    executors_->pause();
    RUBATO_RETURN_IF_ERROR(hooks.save());
    executors_->resume();
  }
  return absl::OkStatus();
}

void Simulation::apply(const Apply& effect) {
  std::vector<PlainDelta> values;
  values.reserve(effect.members.size());  // the model is told where they are
  std::vector<ServerModel::Delta> deltas;
  for (const Apply::Member& member : effect.members) {
    const TaskRun& run = *flights_.at(member.task).run;
    deltas.push_back({&values.emplace_back(run.delta()), *run.base()});
  }
  server_->apply(effect, deltas);
  progress_.staleness = effect.staleness;
  for (const Apply::Member& member : effect.members) {
    record(flights_.at(member.task), effect.staleness, effect.moves_theta ? "applied" : "held");
    drop_flight(member.task);
  }
}

void Simulation::dispatch(const Task& task) {
  const auto who = static_cast<size_t>(task.worker.value());
  record_wait(task.worker);
  idle_[who].since.reset();
  InnerState& inner = inner_[who];
  if (config_.reset_inner) {
    for (std::vector<float>& plane : inner.planes) std::ranges::fill(plane, 0.0f);
    inner.steps = 0;
  }
  Flight& flight = flights_[task.id];
  flight.run = std::make_unique<TaskRun>(task, server_->publish(), &inner);
  const Nanos due = now_ + task.steps * config_.fleet[who].ns_per_step;
  queue_.insert({due, Kind::kArrival, task.worker.value(), task.id});
  executors_->add(flight.run.get(), due);
}

void Simulation::drop_flight(TaskId task) {
  const auto it = flights_.find(task);
  executors_->cancel(it->second.run.get());
  flights_.erase(it);
}

// ---- records

void Simulation::record(const Flight& flight, int64_t staleness, std::string verdict) {
  const TaskRun& run = *flight.run;
  sink_.on_update({.virtual_time_ns = flight.arrived,
                   .worker = run.task().worker,
                   .workers = std::max<int64_t>(std::ssize(config_.stands_for), 1),
                   .task = run.task().id,
                   .shard = run.task().shard,
                   .steps = run.steps_done(),
                   .tokens = run.tokens(),
                   .train_loss_nats = run.mean_loss(),
                   .lr = run.last_lr(),
                   .staleness = staleness,
                   .version = Version(counts().version),
                   .delta_norm = run.norm(),
                   .verdict = std::move(verdict)});
}

void Simulation::record_wait(WorkerId id) {
  const Idle& idle = idle_[static_cast<size_t>(id.value())];
  if (!idle.since || *idle.since == now_ || !config_.stands_for.empty()) return;
  sink_.on_span({id, idle.task, idle.shard, *idle.since, now_, SpanKind::kWait});
}

void Simulation::record_training(const Task& task, Nanos end, SpanKind kind) {
  if (config_.stands_for.empty()) {
    sink_.on_span({task.worker, task.id, task.shard, task.dispatched, end, kind});
    return;
  }
  // Each real worker waits for the slowest at every step; a task's waits are drawn as one.
  for (size_t i = 0; i < config_.stands_for.size(); ++i) {
    const WorkerId id(static_cast<int64_t>(i));
    const Nanos trained = std::min(task.dispatched + task.steps * config_.stands_for[i], end);
    sink_.on_span({id, task.id, task.shard, task.dispatched, trained, kind});
    if (trained < end) sink_.on_span({id, task.id, task.shard, trained, end, SpanKind::kWait});
  }
}

// ---- evaluation

Status Simulation::evaluate_if_due(const SimulationHooks& hooks) {
  const int64_t steps = local_steps();
  bool due = false;
  if (config_.eval_every_steps && steps >= next_eval_steps_) {
    next_eval_steps_ = (steps / *config_.eval_every_steps + 1) * *config_.eval_every_steps;
    due = true;
  }
  if (config_.eval_at_steps && !mark_evaluated_ && steps >= *config_.eval_at_steps) {
    mark_evaluated_ = true;
    due = true;
  }
  if (coordinator_->finished()) due = true;
  return due ? evaluate(hooks) : absl::OkStatus();
}

Status Simulation::evaluate(const SimulationHooks& hooks) {
  if (config_.eval_every_steps && next_eval_steps_ == 0)
    next_eval_steps_ = *config_.eval_every_steps;
  RUBATO_ASSIGN_OR_RETURN(const EvalResult result,
                          workload_.evaluate(server_->theta(), config_.threads));
  if (!std::isfinite(result.loss_nats)) return divergence("a validation loss", local_steps());
  last_eval_ = result;
  sink_.on_eval({.phase = config_.phase,
                 .method = config_.method,
                 .local_steps = local_steps(),
                 .tokens = counts().tokens,
                 .server_updates = counts().version,
                 .version = Version(counts().version),
                 .virtual_time_ns = now_,
                 .wall_time_ns = hooks.wall_clock ? hooks.wall_clock() : 0,
                 .loss_nats = last_eval_->loss_nats,
                 .bits_per_byte = last_eval_->bits_per_byte,
                 .accuracy = last_eval_->accuracy});
  return absl::OkStatus();
}

// ---- state

void Simulation::walk_state(StateWalk& walk) {
  coordinator_->walk_state(walk);
  PrefixedWalk outer(walk, "outer.");
  server_->walk_state(outer);

  std::vector<std::pair<Task, Nanos>> tasks;  // in flight, with their arrival
  for (auto& [id, flight] : flights_) tasks.emplace_back(flight.run->task(), flight.arrived);
  std::vector<Pending> queue(queue_.begin(), queue_.end());
  walk_record(walk, "simulation", [&](auto& parts) {
    parts(now_, started_, queue, tasks, idle_, next_eval_steps_, mark_evaluated_);
  });
  queue_ = std::set<Pending>(queue.begin(), queue.end());

  for (size_t i = 0; i < inner_.size(); ++i) {
    PrefixedWalk inner(walk, cat("worker.", i, ".inner."));
    inner_[i].walk_state(inner);
  }
  // Tasks that start from one version share its parameters.
  std::map<Version, std::shared_ptr<std::vector<float>>> bases;
  for (auto& [task, arrived] : tasks) {
    std::shared_ptr<std::vector<float>>& base = bases[task.base];
    const auto it = flights_.find(task.id);
    if (!base) {
      // Saving only reads; a copy of every base would double the memory that tasks take.
      base = it == flights_.end()
                 ? std::make_shared<std::vector<float>>(server_->theta().size())
                 : std::const_pointer_cast<std::vector<float>>(it->second.run->base());
      walk.plane(cat("base.", task.base), *base);
    }
    if (it == flights_.end()) {
      InnerState& inner = inner_[static_cast<size_t>(task.worker.value())];
      flights_[task.id] = {std::make_unique<TaskRun>(task, base, &inner), arrived};
    }
    PrefixedWalk run(walk, cat("task.", task.id, "."));
    TaskRun& restored = *flights_.at(task.id).run;
    restored.walk_state(run);
    const bool new_to_executors = it == flights_.end() && !restored.finished();
    if (new_to_executors) {
      executors_->add(
          &restored,
          task.dispatched +
              task.steps * config_.fleet[static_cast<size_t>(task.worker.value())].ns_per_step);
    }
  }
}

}  // namespace rubato
