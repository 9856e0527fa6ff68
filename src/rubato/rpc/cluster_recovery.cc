// A cluster's beginning: the run on disk, its newest snapshot, and what the journal holds behind
// it.
#include "rubato/rpc/cluster.h"
#include "rubato/rpc/rollback.h"
#include "rubato/store/journal_reader.h"

namespace rubato {
namespace {

// What is damaged behind a snapshot is given up by going back to it.
Status with_way_back(FileSystem& files, const std::string& directory, const Status& status) {
  if (!absl::IsDataLoss(status)) return status;
  const std::optional<int64_t> step = newest_sound_checkpoint(files, directory);
  if (!step) return status;
  return absl::DataLossError(cat(status.message(), "; rubato rollback ", directory, " --to ", *step,
                                 " goes back to a snapshot that is sound"));
}

}  // namespace

// A rollback that was cut short is done first.
Status Cluster::open_identity() {
  FileSystem& files = *services_.files;
  RUBATO_RETURN_IF_ERROR(complete_rollback(files, config_.directory));
  RUBATO_ASSIGN_OR_RETURN(identity_, open_run_identity(files, config_.directory, config_.digests));
  if (!config_.script || identity_.incarnation == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      cat("[cluster] ", config_.directory,
          ": got a run that was rolled back, want one that was not: on the virtual clock the "
          "script alone says what happens"));
}

Status Cluster::recover(const std::function<StatusOr<std::vector<float>>()>& initial) {
  FileSystem& files = *services_.files;
  const std::string& directory = config_.directory;
  RUBATO_ASSIGN_OR_RETURN(const Codecs codecs, make_codecs(config_.machine));
  payload_ = payload_of(*codecs.up, *codecs.down, num_params_);
  RUBATO_RETURN_IF_ERROR(open_identity());
  RUBATO_RETURN_IF_ERROR(with_way_back(files, directory, open_stores()));
  RUBATO_ASSIGN_OR_RETURN(const auto snapshots, list_checkpoints(files, directory));
  if (snapshots.empty()) {
    if (journal_->next_index() > 0) {
      return absl::DataLossError(cat("[cluster] ", directory, ": got a journal of ",
                                     journal_->next_index(),
                                     " records and no snapshot, want the snapshot it begins with"));
    }
    RUBATO_ASSIGN_OR_RETURN(std::vector<float> theta, initial());
    RUBATO_RETURN_IF_ERROR(make_state(std::move(theta)));
    // Every recovery and every replay begins with a snapshot.
    RUBATO_RETURN_IF_ERROR(save());
  } else {
    RUBATO_RETURN_IF_ERROR(with_way_back(files, directory, restore(snapshots.front())));
  }
  clock_base_ = state_->now();
  clock_began_ = services_.clock();
  if (config_.script) {
    timeline_ = std::make_unique<VirtualTimeline>(state_->coordinator(), *config_.script, payload_,
                                                  state_->now());
  } else {
    timeline_ = std::make_unique<RealTimeline>(state_->coordinator(), config_.start_workers);
    // Whoever was there before has a lease's time to come back.
    for (const WorkerId worker : state_->coordinator().connected_workers())
      roster_.heard_from(worker, clock());
  }
  if (services_.evaluate) evaluator_ = std::make_unique<Evaluator>(services_.evaluate);
  return absl::OkStatus();
}

Status Cluster::open_stores() {
  FileSystem& files = *services_.files;
  const std::string& directory = config_.directory;
  RUBATO_ASSIGN_OR_RETURN(spool_, Spool::open(files, directory,
                                              {.quota_bytes = config_.quota_bytes,
                                               .other_use = {},
                                               .keep = config_.keep_deltas}));
  RUBATO_ASSIGN_OR_RETURN(versions_, VersionStore::open(files, directory, config_.digests.layout));
  RUBATO_ASSIGN_OR_RETURN(Journal journal,
                          Journal::open(files, directory, identity_.journal_identity()));
  journal_.emplace(std::move(journal));
  if (const int64_t bytes = journal_->cut_bytes(); bytes > 0) {
    say({.level = Notice::Level::kWarning,
         .event = "journal",
         .text = cat("cut a torn write of ", bytes,
                     " bytes from the journal's end; nothing in it had been acknowledged"),
         .facts = {{"cut_bytes", bytes}}});
  }
  return absl::OkStatus();
}

Status Cluster::make_state(std::vector<float> theta) {
  RUBATO_ASSIGN_OR_RETURN(
      state_, ClusterState::make(config_.machine, *layout_, config_.shard_sequences,
                                 config_.tokens_per_sequence, std::move(theta), config_.threads,
                                 {.read = [this](TaskId task) { return spool_->read(task); },
                                  .remove = [this](TaskId task) { return spool_->remove(task); }},
                                 versions_.get()));
  return absl::OkStatus();
}

Status Cluster::restore(const std::string& snapshot) {
  FileSystem& files = *services_.files;
  RUBATO_ASSIGN_OR_RETURN(const CheckpointReader reader, open_checkpoint(files, snapshot));
  std::vector<float> theta(static_cast<size_t>(num_params_));
  RUBATO_RETURN_IF_ERROR(reader.read_theta(*layout_, theta));
  RUBATO_RETURN_IF_ERROR(make_state(std::move(theta)));
  RUBATO_RETURN_IF_ERROR(reader.restore([this](StateWalk& walk) { state_->walk_state(walk); }));
  RUBATO_RETURN_IF_ERROR(state_->persist_versions());
  last_saved_step_ = reader.meta().step;
  for (const Task& task : state_->coordinator().tasks_in_flight()) {
    recorded_tasks_[task.id] = task;
    timesheet_.dispatch(task, *services_.sink);
  }
  for (const WorkerId worker : state_->coordinator().connected_workers())
    timesheet_.join(worker, state_->now());
  // The journal goes on where the snapshot stands.
  if (journal_->next_index() < state_->records()) {
    return absl::DataLossError(cat("[cluster] ", config_.directory, ": got a journal of ",
                                   journal_->next_index(), " records, want the ", state_->records(),
                                   " that the snapshot has seen"));
  }
  if (journal_->next_index() == state_->records()) return absl::OkStatus();
  RUBATO_ASSIGN_OR_RETURN(JournalReader records,
                          JournalReader::open(files, config_.directory, state_->records()));
  for (;;) {
    RUBATO_ASSIGN_OR_RETURN(const std::optional<JournalRecord> next, records.next());
    if (!next) break;
    RUBATO_ASSIGN_OR_RETURN(const LoggedEvent record, logged_event_from(next->bytes));
    RUBATO_ASSIGN_OR_RETURN(const Effects effects, state_->process(record));
    write_records(record, effects);
    ++recovered_records_;
  }
  return absl::OkStatus();
}

}  // namespace rubato
