#include "rubato/sim/simulation.h"

#include <algorithm>
#include <cmath>

namespace rubato {
namespace {

// What is refused moves neither theta nor the budget, so a door that refuses every norm would keep
// the run going for ever. Many times the window of its median: what comes later is no better.
constexpr int64_t kHopelessRefusals = 1000;

Status fleet_error(std::string_view what) {
  return absl::InvalidArgumentError(cat("[fleet] got ", what));
}

Status check_link(const Link& link, const Payload& payload) {
  for (const std::optional<int64_t>& rate : {link.down_bytes_per_s, link.up_bytes_per_s}) {
    if (rate && *rate < 1) return fleet_error(cat(*rate, " bytes/s, want at least 1"));
  }
  if (link.latency < 0 || link.latency >= kLongestTime)
    return fleet_error(cat(to_seconds(link.latency), " s of latency, want at least 0 s and below ",
                           to_seconds(kLongestTime), " s"));
  const Nanos slowest = std::max(busy_time(payload.down_bytes, link.down_bytes_per_s),
                                 busy_time(payload.up_bytes, link.up_bytes_per_s));
  if (slowest < kLongestTime) return absl::OkStatus();
  return fleet_error(cat("a link that carries ", std::max(payload.down_bytes, payload.up_bytes),
                         " bytes in ", to_seconds(kLongestTime), " s or more, want a faster one"));
}

Status check_worker(const SimWorker& worker, int64_t local_steps, const Payload& payload) {
  if (worker.ns_per_step <= 0)
    return fleet_error(cat(to_seconds(worker.ns_per_step), " s per step, want more than 0 s"));
  if (worker.ns_per_step > kLongestTime / std::max<int64_t>(local_steps, 1)) {
    return fleet_error(cat(local_steps, " steps of ", to_seconds(worker.ns_per_step),
                           " s a task, want at most ", to_seconds(kLongestTime), " s"));
  }
  if (worker.return_at && (!worker.leave_at || *worker.return_at < *worker.leave_at))
    return fleet_error("a worker that returns before it leaves, want leave_s <= return_s");
  return check_link(worker.link, payload);
}

// Gradient up, parameters down, in every step of k x batch.
Nanos exchange_time(const Link& link, const Payload& payload) {
  return busy_time(payload.up_bytes, link.up_bytes_per_s) +
         busy_time(payload.down_bytes, link.down_bytes_per_s) + 2 * link.latency;
}

// Whether a delta counts: now, or with its group.
bool counts_for(TaskId task, const Effects& effects) {
  return std::ranges::none_of(effects, [task](const Effect& effect) {
    const auto* reject = std::get_if<Reject>(&effect);
    const auto* discard = std::get_if<Discard>(&effect);
    return (reject != nullptr && reject->task == task) ||
           (discard != nullptr && discard->task == task);
  });
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
  const int64_t num_params = workload.layout().size();
  RUBATO_ASSIGN_OR_RETURN(const Codecs codecs, make_codecs(config));
  const Payload payload = payload_of(*codecs.up, *codecs.down, num_params);
  for (const SimWorker& worker : config.stands_for) {
    RUBATO_RETURN_IF_ERROR(check_worker(worker, 1, payload));
    config.fleet[0].ns_per_step = std::max(
        config.fleet[0].ns_per_step, worker.ns_per_step + exchange_time(worker.link, payload));
  }
  for (const SimWorker& worker : config.fleet) {
    RUBATO_RETURN_IF_ERROR(check_worker(worker, config.coordinator.local_steps, payload));
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
  sim->pool_ = make_update_pool(c.threads, num_params);
  sim->server_ = std::make_unique<ServerModel>(std::move(theta), std::move(machine.chain),
                                               sim->pool_.get(), codecs.down);
  sim->server_->measure_updates();
  sim->payload_ = payload;
  sim->uplink_.emplace(codecs.up, num_params, c.fleet.size());
  RUBATO_ASSIGN_OR_RETURN(sim->executors_,
                          Executors::make(workload, c.worker, std::move(data), c.threads,
                                          static_cast<int>(c.fleet.size())));
  sim->idle_.resize(c.fleet.size());
  for (size_t i = 0; i < c.fleet.size(); ++i) {
    const SimWorker& worker = c.fleet[i];
    const auto id = static_cast<int64_t>(i);
    sim->inner_.push_back(workload.optimizer().make_state(num_params));
    sim->clocks_.emplace_back(worker.link, worker.ns_per_step, c.coordinator.overlap, payload);
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
    case Kind::kLeave:
      lose(id);
      coordinator_->step(now_, WorkerLost{id}, effects);
      break;
    case Kind::kWish:
      coordinator_->step(now_, TaskWanted{id, event.task}, effects);
      break;
  }
  return execute(effects, hooks);
}

// With all that it has: tasks, what travels, inner state.
void Simulation::lose(WorkerId id) {
  const auto who = static_cast<size_t>(id.value());
  sink_.on_event({now_, cat("worker ", id, " was lost")});
  std::vector<TaskId> tasks;
  std::erase_if(queue_, [&](const Pending& event) {
    if (event.who != id.value()) return false;
    if (event.kind == Kind::kArrival) tasks.push_back(event.task);
    return event.kind == Kind::kArrival || event.kind == Kind::kWish;
  });
  std::ranges::sort(tasks);
  for (TaskId task : tasks) record_wait_before(flights_.at(task));
  record_wait(id, idle_[who], now_);
  for (TaskId task : tasks) record_loss(flights_.at(task));
  // The newest first, so that nobody begins it when the one before it goes.
  for (auto task = tasks.rbegin(); task != tasks.rend(); ++task) drop_flight(*task);
  idle_[who].since.reset();
  clocks_[who].reset();
  uplink_->lose(id);
  inner_[who] = workload_.optimizer().make_state(workload_.layout().size());
}

Status Simulation::arrive(const Pending& event, const SimulationHooks& hooks) {
  Flight& flight = flights_.at(event.task);
  const TaskRun& run = *flight.run;
  flight.hours.arrived = now_;
  const WorkerId id(event.who);
  if (!run.finite()) {
    return divergence(cat(std::isfinite(run.mean_loss()) ? "parameters" : "a loss", " of worker ",
                          id, " in task ", event.task));
  }
  flight.sent = uplink_->send(run, pool_.get());
  if (!flight.sent.finite) {
    return divergence(cat("a pseudo-gradient of worker ", id, " in task ", event.task, " through ",
                          uplink_->codec().name()));
  }
  record_wait_before(flight);
  record_work(flight);
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
          .norm = flight.sent.norm,
          .finite = flight.sent.finite},
      effects);
  uplink_->settle(id, counts_for(event.task, effects));
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
  std::vector<std::unique_ptr<DeltaSource>> values;
  std::vector<ServerModel::Delta> deltas;
  for (const Apply::Member& member : effect.members) {
    const Flight& flight = flights_.at(member.task);
    values.push_back(uplink_->values(*flight.run, flight.sent));
    deltas.push_back({values.back().get(), *flight.run->base()});
  }
  server_->apply(effect, deltas);
  progress_.staleness = effect.staleness;
  for (const Apply::Member& member : effect.members) {
    record(flights_.at(member.task), member.staleness, effect.moves_theta ? "applied" : "held",
           server_->last_update());
    drop_flight(member.task);
  }
}

void Simulation::dispatch(const Task& task) {
  const auto who = static_cast<size_t>(task.worker.value());
  Flight& flight = flights_[task.id];
  flight.run = std::make_unique<TaskRun>(task, server_->publish(), &inner_[who]);
  flight.hours.times = clocks_[who].plan(now_, task.steps);
  const TaskTimes& times = flight.hours.times;
  flight.hours.before = std::exchange(idle_[who], {times.ends, task.id, task.shard});
  if (times.begins <= now_) record_wait_before(flight);
  queue_.insert({times.arrives, Kind::kArrival, task.worker.value(), task.id});
  if (times.asks < times.arrives)
    queue_.insert({times.asks, Kind::kWish, task.worker.value(), task.id});
  executors_->add(flight.run.get(), times.arrives);
}

void Simulation::drop_flight(TaskId task) {
  const auto it = flights_.find(task);
  executors_->cancel(it->second.run.get());
  flights_.erase(it);
}

}  // namespace rubato
