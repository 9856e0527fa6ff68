// What makes a run on disk: DIR/cluster.json, written once. A directory holds one run for good; its
// name tells it from every other run, and its incarnation counts how often it was rolled back.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "rubato/base/ids.h"
#include "rubato/store/file_system.h"
#include "rubato/store/journal.h"

namespace rubato {

/// Digests of what a run is made of; another one is another run.
struct RunDigests {
  std::string recipe, data, layout;
  friend bool operator==(const RunDigests&, const RunDigests&) = default;
};

/// A rollback that has been decided and not been carried out on all files yet: rollback.h.
struct PendingRollback {
  int64_t step = 0;         // [local steps] of the snapshot that the run goes back to
  int64_t records = 0;      // of the journal that the snapshot has seen
  Nanos now = 0;            // of the run's clock at the snapshot
  Version version;          // of its parameters
  std::set<TaskId> deltas;  // that it still has to apply
  friend bool operator==(const PendingRollback&, const PendingRollback&) = default;
};

struct RunIdentity {
  std::string run;  // 32 hex digits, drawn when the run was made
  int64_t incarnation = 0;
  RunDigests digests;
  std::optional<PendingRollback> rollback;

  JournalIdentity journal_identity() const;
};

/// The run of `directory`. NotFound when there is none, DataLoss when the file is damaged or of an
/// unknown version.
StatusOr<RunIdentity> read_run_identity(FileSystem& files, const std::string& directory);
/// In place of what is there; after a crash it is one or the other.
Status write_run_identity(FileSystem& files, const std::string& directory,
                          const RunIdentity& identity);

/// The run of `directory`, made when there is none. FailedPrecondition `[cluster] DIR: ..` when it
/// holds a run of other digests; the errors of read_run_identity.
StatusOr<RunIdentity> open_run_identity(FileSystem& files, const std::string& directory,
                                        const RunDigests& digests);

}  // namespace rubato
