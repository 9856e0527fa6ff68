#include "rubato/rpc/rollback.h"

#include <algorithm>
#include <functional>

#include "rubato/rpc/cluster_state.h"
#include "rubato/rpc/logged_event.h"
#include "rubato/rpc/replay.h"
#include "rubato/store/file_names.h"
#include "rubato/store/journal.h"
#include "rubato/store/spool_file.h"

namespace rubato {
namespace {

// ---- before the decision

StatusOr<CheckpointReader> open_snapshot(FileSystem& files, const std::string& run_dir,
                                         int64_t step) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<std::string> paths, list_checkpoints(files, run_dir));
  std::vector<int64_t> steps;
  for (const std::string& path : paths) steps.push_back(checkpoint_step(base_name(path)));
  if (std::ranges::find(steps, step) != steps.end())
    return open_checkpoint(files, checkpoint_path(run_dir, step));
  return absl::NotFoundError(
      cat("[rollback] ", run_dir, ": got step ", step,
          ", want that of a snapshot: ", steps.empty() ? "there is none" : join(steps, ", ")));
}

// The snapshot's state, and what is to be done to begin with it. The state takes the event that the
// new journal begins with, as the next opening will: what it needs is there, or this fails.
StatusOr<PendingRollback> try_out(FileSystem& files, const ClusterConfig& config,
                                  const Layout& layout, const CheckpointReader& snapshot,
                                  RollbackReport& report) {
  RUBATO_ASSIGN_OR_RETURN(const std::unique_ptr<VersionStore> versions,
                          copy_replay_versions(files, config, layout));
  std::vector<float> theta(static_cast<size_t>(layout.size()));
  RUBATO_RETURN_IF_ERROR(snapshot.read_theta(layout, theta));
  const DeltaShelf shelf{
      .read = [&](TaskId task) { return open_sound_delta(files, config.directory, task); },
      .remove = [](TaskId) { return absl::OkStatus(); }};
  RUBATO_ASSIGN_OR_RETURN(
      const std::unique_ptr<ClusterState> state,
      ClusterState::make(config.machine, layout, config.shard_sequences, config.tokens_per_sequence,
                         std::move(theta), config.threads, shelf, versions.get()));
  RUBATO_RETURN_IF_ERROR(snapshot.restore([&](StateWalk& walk) { state->walk_state(walk); }));
  PendingRollback rollback{.step = snapshot.meta().step,
                           .records = state->records(),
                           .now = state->now(),
                           .version = Version(state->coordinator().counts().version),
                           .deltas = {}};
  for (const TaskId task : state->coordinator().tasks_in_group()) rollback.deltas.insert(task);
  const Status taken = state->process({rollback.now, RolledBack{}, {}}).status();
  if (absl::IsNotFound(taken)) {
    return absl::FailedPreconditionError(cat(
        "[rollback] ", config.directory, ": got snapshot ", rollback.step,
        " of an unfinished round, want what the round had: take another one; ", taken.message()));
  }
  RUBATO_RETURN_IF_ERROR(taken);
  report.step = state->coordinator().counts().steps;
  report.version = state->coordinator().counts().version;
  report.state_digest = state->digest();
  return rollback;
}

// ---- behind it: whatever is done may be done again

// Removes the entries of a directory that are not to stay; none where there is no directory.
Status clear(FileSystem& files, const std::string& directory,
             const std::function<bool(const std::string&)>& stays) {
  const auto entries = files.list(directory);
  if (absl::IsNotFound(entries.status())) return absl::OkStatus();
  RUBATO_RETURN_IF_ERROR(entries.status());
  for (const DirectoryEntry& entry : *entries) {
    if (stays(entry.name)) continue;
    RUBATO_RETURN_IF_ERROR(files.remove_tree(join_path(directory, entry.name)));
  }
  return files.sync_directory(directory);
}

Status remove_newer_snapshots(FileSystem& files, const std::string& run_dir, int64_t step) {
  RUBATO_ASSIGN_OR_RETURN(const auto entries, files.list(join_path(run_dir, "checkpoints")));
  for (const DirectoryEntry& entry : entries) {
    const int64_t other = checkpoint_step(entry.name);
    if (other > step) RUBATO_RETURN_IF_ERROR(delete_checkpoint(files, run_dir, other));
  }
  return absl::OkStatus();
}

Status begin_journal(FileSystem& files, const std::string& run_dir, const RunIdentity& identity) {
  const PendingRollback& rollback = *identity.rollback;
  RUBATO_ASSIGN_OR_RETURN(
      Journal journal,
      Journal::begin(files, run_dir, identity.journal_identity(), rollback.records));
  RUBATO_RETURN_IF_ERROR(journal.append(to_bytes({rollback.now, RolledBack{}, {}})).status());
  return journal.sync();
}

Status carry_out(FileSystem& files, const std::string& run_dir, RunIdentity identity) {
  const PendingRollback& rollback = *identity.rollback;
  RUBATO_RETURN_IF_ERROR(remove_newer_snapshots(files, run_dir, rollback.step));
  RUBATO_RETURN_IF_ERROR(begin_journal(files, run_dir, identity));
  const auto is_needed_delta = [&](const std::string& name) {
    return rollback.deltas.contains(TaskId(spool_delta_task(name)));
  };
  RUBATO_RETURN_IF_ERROR(clear(files, spool_directory(run_dir), is_needed_delta));
  RUBATO_RETURN_IF_ERROR(clear(files, kept_directory(run_dir), is_needed_delta));
  // Numbers up to the snapshot's mean the same parameters in both histories.
  RUBATO_RETURN_IF_ERROR(clear(files, versions_directory(run_dir), [&](const std::string& name) {
    const Version version(version_of_name(name));
    return version >= Version(0) && version <= rollback.version;
  }));
  identity.rollback.reset();
  return write_run_identity(files, run_dir, identity);
}

}  // namespace

StatusOr<RollbackReport> roll_back(FileSystem& files, const ClusterConfig& config,
                                   const Layout& layout, int64_t step) {
  const std::string& run_dir = config.directory;
  if (absl::IsNotFound(read_run_identity(files, run_dir).status())) {
    return absl::NotFoundError(
        cat("[rollback] ", run_dir, ": got no run, want one of `rubato coordinator`"));
  }
  // A coordinator has both.
  RUBATO_ASSIGN_OR_RETURN(const DirectoryLock lock, files.lock_directory(run_dir));
  RUBATO_RETURN_IF_ERROR(files.make_directories(journal_directory(run_dir)));  // it may be gone
  RUBATO_RETURN_IF_ERROR(files.lock_directory(journal_directory(run_dir)).status());
  RUBATO_RETURN_IF_ERROR(complete_rollback(files, run_dir));
  RUBATO_ASSIGN_OR_RETURN(RunIdentity identity, open_run_identity(files, run_dir, config.digests));
  RUBATO_ASSIGN_OR_RETURN(const CheckpointReader snapshot, open_snapshot(files, run_dir, step));
  RollbackReport report;
  RUBATO_ASSIGN_OR_RETURN(identity.rollback, try_out(files, config, layout, snapshot, report));
  RUBATO_RETURN_IF_ERROR(remove_replay_versions(files, run_dir));
  report.incarnation = ++identity.incarnation;
  RUBATO_RETURN_IF_ERROR(write_run_identity(files, run_dir, identity));
  RUBATO_RETURN_IF_ERROR(complete_rollback(files, run_dir));
  return report;
}

Status complete_rollback(FileSystem& files, const std::string& run_dir) {
  const StatusOr<RunIdentity> identity = read_run_identity(files, run_dir);
  if (absl::IsNotFound(identity.status())) return absl::OkStatus();
  RUBATO_RETURN_IF_ERROR(identity.status());
  return identity->rollback ? carry_out(files, run_dir, *identity) : absl::OkStatus();
}

Status check_not_rolling_back(FileSystem& files, const std::string& run_dir) {
  const StatusOr<RunIdentity> identity = read_run_identity(files, run_dir);
  if (absl::IsNotFound(identity.status())) return absl::OkStatus();
  RUBATO_RETURN_IF_ERROR(identity.status());
  if (!identity->rollback) return absl::OkStatus();
  return absl::FailedPreconditionError(
      cat("[rollback] ", run_dir, ": got a run that is half rolled back to step ",
          identity->rollback->step, ", want it done: rubato rollback or coordinator goes on"));
}

}  // namespace rubato
