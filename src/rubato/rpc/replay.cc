#include "rubato/rpc/replay.h"

#include "rubato/base/digest.h"
#include "rubato/outer/chain.h"
#include "rubato/rpc/rollback.h"
#include "rubato/store/file_names.h"
#include "rubato/store/journal_reader.h"

namespace rubato {
namespace {

std::string scratch_of(const std::string& run_dir) { return join_path(run_dir, "replay"); }

// The snapshot to begin with, opened: newest, or the oldest whose first record the journal has.
StatusOr<CheckpointReader> find_snapshot(
    FileSystem& files, const std::string& directory, ReplayFrom from, int64_t first_kept,
    const std::function<StatusOr<int64_t>(const CheckpointReader&)>& records_of) {
  RUBATO_ASSIGN_OR_RETURN(std::vector<std::string> snapshots, list_checkpoints(files, directory));
  if (from == ReplayFrom::kOldest) std::ranges::reverse(snapshots);
  for (const std::string& snapshot : snapshots) {
    RUBATO_ASSIGN_OR_RETURN(CheckpointReader reader, open_checkpoint(files, snapshot));
    RUBATO_ASSIGN_OR_RETURN(const int64_t records, records_of(reader));
    if (records >= first_kept) return reader;
  }
  return absl::NotFoundError(cat("[replay] ", directory,
                                 ": got no snapshot that the journal reaches back to, want a run "
                                 "of `rubato coordinator`"));
}

}  // namespace

// What the run has includes all that its newest snapshot needs; the others are made again.
StatusOr<std::unique_ptr<VersionStore>> copy_replay_versions(FileSystem& files,
                                                             const ClusterConfig& config,
                                                             const Layout& layout) {
  const OuterContext context{.num_workers = config.machine.num_workers,
                             .num_params = layout.size()};
  RUBATO_ASSIGN_OR_RETURN(const auto chain,
                          OuterChain::make(config.machine.chain, layout, context));
  if (!chain->needs().task_base) return nullptr;
  const std::string& run_dir = config.directory;
  const std::string scratch = scratch_of(run_dir);
  RUBATO_RETURN_IF_ERROR(files.remove_tree(scratch));
  RUBATO_RETURN_IF_ERROR(files.make_directories(versions_directory(scratch)));
  RUBATO_ASSIGN_OR_RETURN(const auto entries, files.list(versions_directory(run_dir)));
  for (const DirectoryEntry& entry : entries) {
    const Version version(version_of_name(entry.name));
    if (version < Version(0)) continue;
    const auto view = files.map(version_path(run_dir, version));
    if (absl::IsNotFound(view.status())) continue;  // the run has gone on
    RUBATO_RETURN_IF_ERROR(view.status());
    RUBATO_ASSIGN_OR_RETURN(const auto copy, files.create(version_path(scratch, version)));
    RUBATO_RETURN_IF_ERROR(copy->append(view->bytes));
    RUBATO_RETURN_IF_ERROR(copy->close());
  }
  return VersionStore::open(files, scratch, config.digests.layout);
}

Status remove_replay_versions(FileSystem& files, const std::string& run_dir) {
  return files.remove_tree(scratch_of(run_dir));
}

StatusOr<ReplayReport> replay(
    FileSystem& files, const ClusterConfig& config, const Layout& layout, ReplayFrom from,
    const std::function<void(const LoggedEvent&, const Effects&)>& watch) {
  const std::string& directory = config.directory;
  RUBATO_RETURN_IF_ERROR(check_not_rolling_back(files, directory));
  RUBATO_RETURN_IF_ERROR(JournalReader::open(files, directory, {}).status());
  // Of the first record that is kept, or of the next one where a snapshot took all of them.
  RUBATO_ASSIGN_OR_RETURN(const auto segments, journal_segments(files, directory));
  const int64_t first_kept = segments.empty() ? 0 : segments.front();
  // Without kept deltas the spool holds those behind the newest snapshot, whatever the journal has.
  if (!files.exists(kept_directory(directory))) from = ReplayFrom::kNewest;

  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<VersionStore> versions,
                          copy_replay_versions(files, config, layout));
  const DeltaShelf shelf{
      .read = [&](TaskId task) { return open_sound_delta(files, directory, task); },
      .remove = [](TaskId) { return absl::OkStatus(); }};
  const auto fresh_state = [&] {
    return ClusterState::make(config.machine, layout, config.shard_sequences,
                              config.tokens_per_sequence,
                              std::vector<float>(static_cast<size_t>(layout.size())),
                              config.threads, shelf, versions.get());
  };
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<ClusterState> state, fresh_state());
  const auto restore = [&](const CheckpointReader& reader) {
    return reader.restore([&](StateWalk& walk) { state->walk_state(walk); });
  };
  RUBATO_ASSIGN_OR_RETURN(
      const CheckpointReader reader,
      find_snapshot(files, directory, from, first_kept,
                    [&](const CheckpointReader& candidate) -> StatusOr<int64_t> {
                      RUBATO_ASSIGN_OR_RETURN(state, fresh_state());
                      RUBATO_RETURN_IF_ERROR(restore(candidate));
                      return state->records();
                    }));
  std::vector<float> theta(static_cast<size_t>(layout.size()));
  RUBATO_RETURN_IF_ERROR(reader.read_theta(layout, theta));
  state->restore_theta(theta);

  ReplayReport report;
  report.from_step = reader.meta().step;
  report.first_record = state->records();
  RUBATO_ASSIGN_OR_RETURN(JournalReader records,
                          JournalReader::open(files, directory, state->records()));
  for (;;) {
    RUBATO_ASSIGN_OR_RETURN(const std::optional<JournalRecord> next, records.next());
    if (!next) break;
    RUBATO_ASSIGN_OR_RETURN(const LoggedEvent event, logged_event_from(next->bytes));
    RUBATO_ASSIGN_OR_RETURN(const Effects effects, state->process(event));
    if (watch) watch(event, effects);
  }
  report.records = state->records();
  report.counts = state->coordinator().counts();
  report.ledger = state->coordinator().ledger().total_counts();
  report.state_digest = state->digest();
  report.effects_digest = state->coordinator().effects_digest();
  report.params_digest = digest_of(state->theta());
  versions.reset();
  RUBATO_RETURN_IF_ERROR(remove_replay_versions(files, directory));
  return report;
}

}  // namespace rubato
