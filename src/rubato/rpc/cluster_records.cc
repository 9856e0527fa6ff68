// What a cluster records: updates, spans, evaluations, as the simulator does, by the run's clock.
#include <cmath>

#include "rubato/metrics/format.h"
#include "rubato/rpc/cluster.h"

namespace rubato {

void Cluster::write_records(const LoggedEvent& record, const Effects& effects) {
  if (const auto* update = std::get_if<UpdateArrived>(&record.event)) {
    const auto task = recorded_tasks_.find(update->task);
    const bool is_its_own = task != recorded_tasks_.end() && task->second.worker == update->worker;
    if (is_its_own && held_records_.try_emplace(update->task, record).second)
      timesheet_.arrive(task->second, record.now, update->train_ns, *services_.sink);
  }
  for (const Effect& effect : effects) {
    if (const auto* apply = std::get_if<Apply>(&effect)) {
      for (const Apply::Member& member : apply->members) {
        const auto held = held_records_.extract(member.task);
        if (!held.empty())
          write_update(held.mapped(), member.task, member.staleness,
                       apply->moves_theta ? "applied" : "held", state_->last_update());
      }
    } else if (const auto* discard = std::get_if<Discard>(&effect)) {
      held_records_.erase(discard->task);
      write_update(record, discard->task, discard->staleness, "discarded");
    } else if (const auto* reject = std::get_if<Reject>(&effect)) {
      const auto task = recorded_tasks_.find(reject->task);
      if (task == recorded_tasks_.end() || task->second.worker != reject->worker) continue;
      held_records_.erase(reject->task);
      write_update(record, reject->task, 0, cat("rejected:", to_string(reject->reason)));
    } else if (const auto* dispatch = std::get_if<Dispatch>(&effect)) {
      recorded_tasks_[dispatch->task.id] = dispatch->task;
      timesheet_.dispatch(dispatch->task, *services_.sink);
    }
  }
  if (const auto* pause = std::get_if<Pause>(&record.event))
    services_.sink->on_event({record.now, pause->on ? "paused" : "resumed"});
  if (std::holds_alternative<RolledBack>(record.event)) {
    services_.sink->on_event({record.now, "rolled-back"});
    for (const WorkerStanding& worker : state_->coordinator().workers())
      write_lost(worker.worker, record);
  }
  if (const auto* lost = std::get_if<WorkerLost>(&record.event)) write_lost(lost->worker, record);
  // Whoever joins again without having been lost has dropped what it had.
  if (const auto* joined = std::get_if<WorkerJoined>(&record.event)) {
    write_lost(joined->worker, record);
    timesheet_.join(joined->worker, record.now);
  }
}

void Cluster::write_lost(WorkerId worker, const LoggedEvent& record) {
  std::set<TaskId> in_flight;
  for (const Task& task : state_->coordinator().tasks_in_flight()) in_flight.insert(task.id);
  std::vector<Task> tasks;
  std::erase_if(recorded_tasks_, [&](const auto& entry) {
    const Task& task = entry.second;
    if (task.worker != worker || held_records_.contains(task.id) || in_flight.contains(task.id))
      return false;
    tasks.push_back(task);
    return true;
  });
  const bool is_gone = !std::holds_alternative<WorkerJoined>(record.event);
  if (is_gone || !tasks.empty()) timesheet_.lose(worker, record.now, tasks, *services_.sink);
}

void Cluster::write_update(const LoggedEvent& record, TaskId id, int64_t staleness,
                           std::string verdict, const UpdateGeometry& geometry) {
  const auto& update = std::get<UpdateArrived>(record.event);
  const auto found = recorded_tasks_.extract(id);
  if (found.empty()) return;  // of a task that was given up, or dispatched before a snapshot
  const Task& task = found.mapped();
  services_.sink->on_update({.virtual_time_ns = record.now,
                             .worker = task.worker,
                             .task = task.id,
                             .shard = task.shard,
                             .steps = update.steps_done,
                             .tokens = update.tokens,
                             .train_loss_nats = record.notes.mean_loss,
                             .lr = record.notes.last_lr,
                             .staleness = staleness,
                             .version = Version(state_->coordinator().counts().version),
                             .delta_norm = update.norm,
                             .bytes_down = record.notes.bytes_down,
                             .bytes_up = record.notes.bytes_up,
                             .verdict = std::move(verdict),
                             .momentum_cosine = geometry.momentum_cosine,
                             .momentum_norm = geometry.momentum_norm,
                             .step_norm = geometry.step_norm,
                             .aligned_gain = geometry.aligned_gain});
}

void Cluster::evaluate_if_due(bool at_end) {
  if (!evaluator_) return;
  const CoordinatorCounts& counts = state_->coordinator().counts();
  if (!at_end) {
    if (!config_.eval_every_steps || counts.steps < next_eval_steps_) return;
    next_eval_steps_ = (counts.steps / *config_.eval_every_steps + 1) * *config_.eval_every_steps;
  }
  evaluator_->submit({.theta = state_->share_theta(),
                      .now = state_->now(),
                      .local_steps = counts.steps,
                      .tokens = counts.tokens,
                      .version = counts.version});
}

void Cluster::collect_evaluations() {
  if (!evaluator_) return;
  for (const Evaluator::Result& done : evaluator_->take_results()) {
    if (!done.result.ok()) {
      // One that a stop cut short is nobody's concern.
      if (!absl::IsCancelled(done.result.status()))
        say({.level = Notice::Level::kWarning,
             .event = "evaluation",
             .text = cat("evaluation failed: ", done.result.status().message()),
             .facts = {{"local_steps", done.job.local_steps}}});
      continue;
    }
    say({.event = "evaluation",
         .text = cat("evaluation at step ", done.job.local_steps, ": loss ",
                     fixed(done.result->loss_nats, 4)),
         .facts = {{"local_steps", done.job.local_steps},
                   {"version", done.job.version},
                   {"loss_nats", done.result->loss_nats}}});
    {
      const std::lock_guard lock(gauges_.mutex);
      gauges_.evaluation = {done.result->loss_nats, done.job.local_steps};
    }
    services_.sink->on_eval({.phase = RunPhase::kTrain,
                             .method = config_.method,
                             .local_steps = done.job.local_steps,
                             .tokens = done.job.tokens,
                             .server_updates = done.job.version,
                             .version = Version(done.job.version),
                             .virtual_time_ns = done.job.now,
                             .wall_time_ns = done.job.now,
                             .loss_nats = done.result->loss_nats,
                             .bits_per_byte = done.result->bits_per_byte,
                             .accuracy = done.result->accuracy});
  }
}

}  // namespace rubato
