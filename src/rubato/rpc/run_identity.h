// What makes a run on disk: DIR/cluster.json, written once. A directory holds one run for good; its
// name tells it from every other run, and its incarnation counts how often it was rolled back.
#pragma once

#include <string>

#include "rubato/store/file_system.h"
#include "rubato/store/journal.h"

namespace rubato {

/// Digests of what a run is made of; another one is another run.
struct RunDigests {
  std::string recipe, data, layout;
  friend bool operator==(const RunDigests&, const RunDigests&) = default;
};

struct RunIdentity {
  std::string run;  // 32 hex digits, drawn when the run was made
  int64_t incarnation = 0;
  RunDigests digests;

  JournalIdentity journal_identity() const;
};

/// The run of `directory`, made when there is none. FailedPrecondition `[cluster] DIR: ..` when it
/// holds a run of other digests, DataLoss when the file is damaged or of an unknown version.
StatusOr<RunIdentity> open_run_identity(FileSystem& files, const std::string& directory,
                                        const RunDigests& digests);

}  // namespace rubato
