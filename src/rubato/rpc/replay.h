// Replay: a run's journal and kept deltas, taken again by the state machine from a snapshot on. It
// reads only; the run may be finished, stopped or under way.
#pragma once

#include <functional>
#include <string>

#include "rubato/rpc/cluster.h"

namespace rubato {

struct ReplayReport {
  int64_t from_step = 0;     // [local steps] of the snapshot it began with
  int64_t first_record = 0;  // taken from the journal
  int64_t records = 0;       // in all, since the run began
  CoordinatorCounts counts;
  FateCounts ledger;
  std::string state_digest, effects_digest, params_digest;
};

enum class ReplayFrom {
  kOldest,  // snapshot that the journal reaches back to, when deltas were kept; else the newest
  kNewest,
};

/// Versions for a state that is made again from a snapshot: copies of the run's, in a directory of
/// their own; null when the chain needs none. remove_replay_versions when the state is gone.
StatusOr<std::unique_ptr<VersionStore>> copy_replay_versions(FileSystem& files,
                                                             const ClusterConfig& config,
                                                             const Layout& layout);
Status remove_replay_versions(FileSystem& files, const std::string& run_dir);

/// `config` is the run's: directory, machine, shards, digests. `watch` sees every record with its
/// effects; may be null. NotFound when the directory holds no run; DataLoss or FailedPrecondition
/// in the words of whichever file objects, or while the run is rolled back.
StatusOr<ReplayReport> replay(FileSystem& files, const ClusterConfig& config, const Layout& layout,
                              ReplayFrom from,
                              const std::function<void(const LoggedEvent&, const Effects&)>& watch);

}  // namespace rubato
