// Back to a snapshot: what came behind it is undone, and the run goes on from there as its next
// incarnation. Tasks and deltas of before are refused by their incarnation; their files are gone.
//
//   check the snapshot -> cluster.json (the next incarnation, and what is to be done) -> do it ->
//   cluster.json (done)
//
// The first write decides: a crash before it leaves the old run, one behind it a run whose next
// opening does the rest. Nobody but the caller may use the run meanwhile.
#pragma once

#include <string>

#include "rubato/rpc/cluster_config.h"

namespace rubato {

struct RollbackReport {
  int64_t step = 0;         // [local steps] of the run as it is now
  int64_t version = 0;      // of its parameters
  int64_t incarnation = 0;  // of the run from now on
  std::string state_digest;
};

/// Rolls the run in `config.directory` back to its snapshot `step`. `config` is the run's, as for
/// replay(). NotFound when there is no such snapshot, and says which there are; FailedPrecondition
/// when somebody uses the run, when it is of other digests, or when the snapshot waits for deltas
/// that are gone; DataLoss when it is damaged. After an error the run is as it was, unless writing
/// failed behind the decision: then the next opening goes on.
StatusOr<RollbackReport> roll_back(FileSystem& files, const ClusterConfig& config,
                                   const Layout& layout, int64_t step);

/// Does what an interrupted rollback left undone, if one did. Whoever opens a run begins with it.
Status complete_rollback(FileSystem& files, const std::string& run_dir);

/// FailedPrecondition while a rollback is half done, for whoever only reads.
Status check_not_rolling_back(FileSystem& files, const std::string& run_dir);

}  // namespace rubato
