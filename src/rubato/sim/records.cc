// What a simulation records: updates, what workers did when, evaluations.
#include <algorithm>
#include <cmath>

#include "rubato/sim/simulation.h"

namespace rubato {

Status Simulation::divergence(std::string_view what) const {
  return absl::AbortedError(
      cat("[train] got ", what, " not finite after ", local_steps(),
          " local steps of the run, want numbers; lower lr.max or the outer rule's lr, or raise "
          "lr.warmup_steps"));
}

void Simulation::record(const Flight& flight, int64_t staleness, std::string verdict,
                        const UpdateGeometry& geometry) {
  const TaskRun& run = *flight.run;
  // In k x batch everybody exchanges something in every step.
  const int64_t exchanges =
      config_.stands_for.empty() ? 1 : run.steps_done() * std::ssize(config_.stands_for);
  sink_.on_update({.virtual_time_ns = flight.hours.arrived,
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
                   .delta_norm = flight.sent.norm,
                   .bytes_down = exchanges * payload_.down_bytes,
                   .bytes_up = exchanges * payload_.up_bytes,
                   .verdict = std::move(verdict),
                   .momentum_cosine = geometry.momentum_cosine,
                   .momentum_norm = geometry.momentum_norm,
                   .step_norm = geometry.step_norm,
                   .aligned_gain = geometry.aligned_gain});
}

void Simulation::record_wait(WorkerId id, const Idle& idle, Nanos end) {
  if (!idle.since || *idle.since >= end || !config_.stands_for.empty()) return;
  sink_.on_span({id, idle.task, idle.shard, *idle.since, end, SpanKind::kWait});
}

// Once, when it is over.
void Simulation::record_wait_before(Flight& flight) {
  Hours& hours = flight.hours;
  record_wait(flight.run->task().worker, hours.before, std::min(hours.times.begins, now_));
  hours.before.since.reset();
}

// Of a task that has arrived.
void Simulation::record_work(const Flight& flight) {
  const Task& task = flight.run->task();
  const TaskTimes& times = flight.hours.times;
  if (!config_.stands_for.empty()) return record_exchanged_steps(task, now_, SpanKind::kTrain);
  const auto span = [&](Nanos begin, Nanos end, SpanKind kind) {
    if (begin < end) sink_.on_span({task.worker, task.id, task.shard, begin, end, kind});
  };
  span(times.receives, times.received, SpanKind::kReceive);
  span(times.begins, times.ends, SpanKind::kTrain);
  span(times.sends, times.arrives, SpanKind::kSend);
}

void Simulation::record_loss(const Flight& flight) {
  const Task& task = flight.run->task();
  if (!config_.stands_for.empty()) return record_exchanged_steps(task, now_, SpanKind::kLost);
  sink_.on_span({task.worker, task.id, task.shard, task.dispatched, now_, SpanKind::kLost});
}

// Each real worker waits for the slowest at every step; a task's waits are drawn as one.
void Simulation::record_exchanged_steps(const Task& task, Nanos end, SpanKind kind) {
  for (size_t i = 0; i < config_.stands_for.size(); ++i) {
    const WorkerId id(static_cast<int64_t>(i));
    const Nanos trained =
        std::min(task.dispatched + task.steps * config_.stands_for[i].ns_per_step, end);
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
  if (!std::isfinite(result.loss_nats)) return divergence("a validation loss");
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

}  // namespace rubato
