#include "rubato/sim/simulation.h"

#include <algorithm>
#include <cmath>

namespace rubato {
namespace {

// What is refused moves neither theta nor the budget, so a door that refuses every norm would keep
// the run going for ever. Many times the window of its median: what comes later is no better.
constexpr int64_t kHopelessRefusals = 1000;

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
  const int64_t num_params = workload.layout().size();
  DataMap data(workload.shard_sequences(), config.merged_data, config.coordinator.seed);
  RUBATO_ASSIGN_OR_RETURN(
      PreparedSimulation prepared,
      prepare_simulation(std::move(config),
                         {num_params, data.logical_shards(), workload.tokens_per_sequence()},
                         workload.layout()));
  std::unique_ptr<Simulation> sim(new Simulation(std::move(prepared.config), workload, sink));
  const SimulationConfig& c = sim->config_;
  const Codecs& codecs = prepared.machine.codecs;
  sim->coordinator_ = std::move(prepared.machine.coordinator);
  sim->pool_ = make_update_pool(c.threads, num_params);
  sim->server_ = std::make_unique<ServerModel>(std::move(theta), std::move(prepared.machine.chain),
                                               sim->pool_.get(), codecs.down);
  sim->server_->measure_updates();
  sim->payload_ = prepared.payload;
  sim->uplink_.emplace(codecs.up, num_params, c.fleet.size());
  RUBATO_ASSIGN_OR_RETURN(sim->executors_,
                          Executors::make(workload, c.worker, std::move(data), c.threads,
                                          static_cast<int>(c.fleet.size())));
  sim->idle_.resize(c.fleet.size());
  for (size_t i = 0; i < c.fleet.size(); ++i)
    sim->inner_.push_back(workload.optimizer().make_state(num_params));
  sim->clockwork_ = Clockwork(c.fleet, c.coordinator.overlap, sim->payload_);
  return sim;
}

int64_t Simulation::local_steps() const {
  return counts().steps * std::max<int64_t>(static_cast<int64_t>(config_.stands_for.size()), 1);
}

int64_t Simulation::local_steps_made() const {
  int64_t steps = 0;
  for (TaskId task : clockwork_.tasks_to_arrive()) steps += flights_.at(task).run->steps_done();
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
    if (clockwork_.empty())
      return absl::FailedPreconditionError(
          "[train] got a fleet that has left, want somebody to come back; see fleet.leave_s");
    // Training starts once everybody who joins at the first instant is there.
    if (!started_ && clockwork_.next().kind != Clockwork::Kind::kJoin) {
      return absl::FailedPreconditionError(
          "[train] got nobody at the start, want a worker that joins before the first one leaves");
    }
    if (clockwork_.next().kind == Clockwork::Kind::kArrival) {
      const Status waited = wait_for(*flights_.at(clockwork_.next().task).run, hooks);
      if (absl::IsCancelled(waited)) continue;
    }
    const Clockwork::Entry event = clockwork_.take();
    now_ = event.at;
    RUBATO_RETURN_IF_ERROR(process(event, hooks));
    const bool more_at_first_instant = !clockwork_.empty() && clockwork_.next().at == now_;
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

Status Simulation::process(const Clockwork::Entry& event, const SimulationHooks& hooks) {
  switch (event.kind) {
    case Clockwork::Kind::kArrival:
      return arrive(event, hooks);
    case Clockwork::Kind::kJoin:
      idle_[static_cast<size_t>(event.who)].since = now_;
      sink_.on_event({now_, cat("worker ", event.who, " joined")});
      break;
    case Clockwork::Kind::kLeave:
      lose(WorkerId(event.who));
      break;
    case Clockwork::Kind::kWish:
    case Clockwork::Kind::kTimer:
      break;
  }
  Effects effects;
  coordinator_->step(now_, clockwork_.event_of(event), effects);
  return execute(effects, hooks);
}

// With all that it has: tasks, what travels, inner state.
void Simulation::lose(WorkerId id) {
  const auto who = static_cast<size_t>(id.value());
  sink_.on_event({now_, cat("worker ", id, " was lost")});
  const std::vector<TaskId> tasks = clockwork_.lose(id);
  for (TaskId task : tasks) record_wait_before(flights_.at(task));
  record_wait(id, idle_[who], now_);
  for (TaskId task : tasks) record_loss(flights_.at(task));
  // The newest first, so that nobody begins it when the one before it goes.
  for (auto task = tasks.rbegin(); task != tasks.rend(); ++task) drop_flight(*task);
  idle_[who].since.reset();
  uplink_->lose(id);
  inner_[who] = workload_.optimizer().make_state(workload_.layout().size());
}

Status Simulation::arrive(const Clockwork::Entry& event, const SimulationHooks& hooks) {
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
      clockwork_.set_timer(*timer);
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
  flight.hours.times = clockwork_.dispatch(task, now_);
  const TaskTimes& times = flight.hours.times;
  flight.hours.before = std::exchange(idle_[who], {times.ends, task.id, task.shard});
  if (times.begins <= now_) record_wait_before(flight);
  executors_->add(flight.run.get(), times.arrives);
}

void Simulation::drop_flight(TaskId task) {
  const auto it = flights_.find(task);
  executors_->cancel(it->second.run.get());
  flights_.erase(it);
}

}  // namespace rubato
