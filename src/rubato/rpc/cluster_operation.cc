// A cluster and its operator: pause, drain, evict; what it says while it runs, and what it tells
// whoever asks.
#include <algorithm>

#include "rubato/rpc/cluster.h"
#include "rubato/store/checkpoint.h"
#include "rubato/store/file_names.h"

namespace rubato {
namespace {

// [bytes] of the files in a directory; 0 where there is none.
int64_t directory_bytes(FileSystem& files, const std::string& path) {
  const auto entries = files.list(path);
  if (!entries.ok()) return 0;
  int64_t bytes = 0;
  for (const DirectoryEntry& entry : *entries) {
    // One that is trimmed meanwhile takes no room.
    const auto size =
        entry.is_directory ? int64_t{0} : files.file_size(join_path(path, entry.name));
    bytes += size.value_or(0);
  }
  return bytes;
}

v1::WorkerStatus::State state_of(const WorkerStanding& worker, bool attends) {
  if (!worker.connected) return v1::WorkerStatus::STATE_LOST;
  if (!attends) return v1::WorkerStatus::STATE_ABSENT;
  return worker.tasks.empty() ? v1::WorkerStatus::STATE_WAITING : v1::WorkerStatus::STATE_TRAINING;
}

}  // namespace

// ---- what an operator may do

Status Cluster::whether_it_happened(const StatusOr<UpdateVerdict>& verdict) {
  RUBATO_RETURN_IF_ERROR(verdict.status());
  if (verdict->kind != UpdateVerdict::Kind::kRejected) return absl::OkStatus();
  return absl::FailedPreconditionError("[control] got a run that has ended, want one under way");
}

Status Cluster::check_real_clock() const {
  if (!config_.script) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "[control] got a run on the virtual clock, want one on the real clock; the script alone "
      "says what happens there");
}

Status Cluster::pause(bool on) {
  RUBATO_RETURN_IF_ERROR(check_real_clock());
  if (!on) draining_ = false;
  return whether_it_happened(
      post_for_verdict({.event = Pause{on}, .notes = {}, .outcome = nullptr}).get());
}

Status Cluster::drain() {
  RUBATO_RETURN_IF_ERROR(pause(true));
  draining_ = true;
  say({.event = "operator",
       .text = "draining: the coordinator ends when all that is under way is in",
       .facts = {{"action", "drain"}}});
  return absl::OkStatus();
}

bool Cluster::is_drained() const { return draining_ && tasks_in_flight().empty(); }

Status Cluster::evict(WorkerId worker, const std::string& why) {
  RUBATO_RETURN_IF_ERROR(check_real_clock());
  std::future<StatusOr<UpdateVerdict>> verdict;
  {
    // Under the lock under which sessions begin: one that begins later joins behind the loss.
    const std::lock_guard lock(state_mutex_);
    const std::vector<WorkerId> here = state_->coordinator().connected_workers();
    if (std::ranges::find(here, worker) == here.end() && !roster_.attends(worker)) {
      return absl::NotFoundError(cat("[control] got worker ", worker, ", want one that is here: ",
                                     here.empty() ? "nobody" : join(here, ", ")));
    }
    roster_.release(worker, v1::Release::WHY_EVICTED, why);
    verdict = post_for_verdict(loss_of(worker, why));
  }
  return whether_it_happened(verdict.get());
}

// ---- what it does about a full spool

// Deltas that were applied stay until a snapshot is safe. Where uploads wait for their room, steps
// do not go on, and the snapshot that is due at a step would never come.
Status Cluster::make_room() {
  if (!room_wanted_.exchange(false)) return absl::OkStatus();
  std::set<TaskId> needed;
  {
    const std::lock_guard lock(state_mutex_);
    needed = state_->needed_deltas();
  }
  const bool frees_some = std::ranges::any_of(spool_->list(), [&](const SpoolEntry& entry) {
    return entry.complete && !needed.contains(entry.task);
  });
  // It takes room itself before it makes any.
  FileSystem& files = *services_.files;
  const int64_t snapshot_bytes =
      directory_bytes(files, checkpoint_path(config_.directory, last_saved_step_));
  if (!frees_some || files.available_bytes(config_.directory).value_or(0) < 2 * snapshot_bytes)
    return absl::OkStatus();
  RUBATO_RETURN_IF_ERROR(save());
  // A crash behind an earlier one may have left what it had freed.
  const std::lock_guard lock(state_mutex_);
  return spool_->trim(state_->needed_deltas());
}

// ---- what it says

void Cluster::say_what_happened(const Incoming& incoming, const Effects& effects) const {
  if (const auto* joined = std::get_if<WorkerJoined>(&incoming.event)) {
    say({.event = "joined",
         .text =
             cat("worker ", joined->worker, " joined",
                 joined->ns_per_step > 0 ? cat(", ", to_seconds(joined->ns_per_step), " s a step")
                                         : std::string()),
         .facts = {{"worker", joined->worker.value()},
                   {"seconds_per_step", to_seconds(joined->ns_per_step)}}});
  } else if (const auto* lost = std::get_if<WorkerLost>(&incoming.event)) {
    say({.level = Notice::Level::kWarning,
         .event = "lost",
         .text = cat("worker ", lost->worker, " is lost: ", incoming.why),
         .facts = {{"worker", lost->worker.value()}, {"reason", incoming.why}}});
  } else if (const auto* pause = std::get_if<Pause>(&incoming.event)) {
    say({.event = "operator",
         .text = pause->on ? "paused: nobody gets a task" : "resumed",
         .facts = {{"action", pause->on ? "pause" : "resume"}}});
  }
  for (const Effect& effect : effects) {
    if (const auto* reject = std::get_if<Reject>(&effect)) {
      say({.level = Notice::Level::kWarning,
           .event = "rejected",
           .text = cat("worker ", reject->worker, ": delta of task ", reject->task,
                       " rejected: ", to_string(reject->reason)),
           .facts = {{"worker", reject->worker.value()},
                     {"task", reject->task.value()},
                     {"reason", std::string(to_string(reject->reason))}}});
    } else if (const auto* apply = std::get_if<Apply>(&effect)) {
      say({.level = Notice::Level::kDebug,
           .event = "applied",
           .text = cat(apply->members.size(), " deltas applied, ", apply->steps, " steps"),
           .facts = {{"deltas", std::ssize(apply->members)},
                     {"steps", apply->steps},
                     {"tokens", apply->tokens},
                     {"staleness", apply->staleness}}});
    } else if (std::holds_alternative<Finished>(effect)) {
      say({.event = "finished", .text = "the budget is used up", .facts = {}});
    }
  }
}

void Cluster::say_saved(int64_t step) const {
  const int64_t bytes = directory_bytes(*services_.files, checkpoint_path(config_.directory, step));
  say({.event = "snapshot",
       .text = cat("snapshot of step ", step, " written in ", to_seconds(*last_save_took_), " s"),
       .facts = {
           {"local_steps", step}, {"seconds", to_seconds(*last_save_took_)}, {"bytes", bytes}}});
}

// ---- what it tells

Nanos Cluster::clock() const { return clock_base_ + services_.clock() - clock_began_; }

std::vector<Task> Cluster::tasks_in_flight() const {
  const std::lock_guard lock(state_mutex_);
  return state_->coordinator().tasks_in_flight();
}

CoordinatorCounts Cluster::counts() const {
  const std::lock_guard lock(state_mutex_);
  return state_->coordinator().counts();
}

std::string Cluster::state_digest() {
  const std::lock_guard lock(state_mutex_);
  return state_->digest();
}

std::string Cluster::effects_digest() const {
  const std::lock_guard lock(state_mutex_);
  return state_->coordinator().effects_digest();
}

v1::StatusReply Cluster::status() const {
  FileSystem& files = *services_.files;
  const Nanos now = clock();
  v1::StatusReply reply;
  reply.set_run(identity_.run);
  reply.set_incarnation(identity_.incarnation);
  reply.set_build(config_.build_id);
  reply.set_method(config_.method);
  reply.set_draining(draining_);
  {
    const std::lock_guard lock(state_mutex_);
    const Coordinator& coordinator = state_->coordinator();
    const CoordinatorCounts& counts = coordinator.counts();
    reply.set_started(coordinator.started());
    reply.set_paused(coordinator.paused());
    reply.set_finished(coordinator.finished());
    reply.set_version(counts.version);
    reply.set_steps(counts.steps);
    reply.set_budget_steps(coordinator.config().budget_steps);
    reply.set_tokens(counts.tokens);
    reply.set_applied(counts.arrivals - counts.discarded);
    reply.set_discarded(counts.discarded);
    reply.set_rejected(counts.rejected);
    reply.set_losses(counts.lost);
    reply.set_tasks_in_flight(std::ssize(coordinator.tasks_in_flight()));
    for (const WorkerStanding& standing : coordinator.workers()) {
      v1::WorkerStatus& worker = *reply.add_workers();
      worker.set_worker(standing.worker.value());
      worker.set_state(state_of(standing, roster_.attends(standing.worker)));
      worker.set_tasks_in_flight(std::ssize(standing.tasks));
      const std::optional<Nanos> heard = roster_.last_heard(standing.worker);
      if (heard && standing.connected) worker.set_silent_ns(std::max<Nanos>(now - *heard, 0));
      if (standing.ns_per_step > 0) worker.set_steps_per_s(1 / to_seconds(standing.ns_per_step));
    }
  }
  {
    const std::lock_guard lock(gauges_.mutex);
    reply.set_steps_per_s(gauges_.steps.per_s(now));
    if (gauges_.evaluation) {
      reply.set_loss_nats(gauges_.evaluation->loss_nats);
      reply.set_loss_steps(gauges_.evaluation->local_steps);
    }
  }
  const int64_t tokens_per_step =
      config_.machine.coordinator.batch_sequences * config_.tokens_per_sequence;
  reply.set_tokens_per_s(reply.steps_per_s() * static_cast<double>(tokens_per_step));
  reply.set_spool_bytes(spool_->bytes_used());
  if (config_.quota_bytes) reply.set_spool_quota_bytes(*config_.quota_bytes);
  reply.set_versions_bytes(versions_->bytes_used());
  reply.set_journal_bytes(directory_bytes(files, journal_directory(config_.directory)));
  reply.set_disk_free_bytes(files.available_bytes(config_.directory).value_or(0));
  reply.set_uptime_ns(now - clock_base_);
  reply.set_received_bytes(gauges_.received_bytes);
  reply.set_sent_bytes(gauges_.sent_bytes);
  reply.set_journal_syncs(gauges_.journal_syncs);
  reply.set_journal_sync_ns(gauges_.journal_sync_ns);
  reply.set_driver_silent_ns(std::max<Nanos>(now - gauges_.last_round, 0));
  const std::lock_guard lock(queue_mutex_);
  reply.set_events_waiting(std::ssize(queue_));
  return reply;
}

}  // namespace rubato
