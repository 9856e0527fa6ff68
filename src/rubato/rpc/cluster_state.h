// Everything the journal determines: the coordinator, the model, and which deltas and versions are
// still of use. A live cluster, its recovery after a crash and `rubato replay` step it with the
// same records and reach the same bits.
//
//   process(record): coordinator.step -> effects, in order: Apply folds deltas of the spool into
//   theta, Dispatch publishes the version it starts from
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "rubato/rpc/logged_event.h"
#include "rubato/server/machine.h"
#include "rubato/server/server_model.h"
#include "rubato/store/checkpoint.h"
#include "rubato/store/spool_file.h"
#include "rubato/store/version_store.h"

namespace rubato {

/// Where deltas lie: a live spool, or what a run has kept.
struct DeltaShelf {
  std::function<StatusOr<SpooledDelta>(TaskId)> read;
  std::function<Status(TaskId)> remove;  // of one that was refused
};

class ClusterState {
 public:
  /// Starts from `theta` [P]. `versions` outlives it; null: nobody is dispatched from here, and the
  /// chain needs no task's base. `threads` fold updates and never change a bit.
  static StatusOr<std::unique_ptr<ClusterState>> make(const MachineConfig& config,
                                                      const Layout& layout,
                                                      std::vector<int64_t> shard_sequences,
                                                      int64_t tokens_per_sequence,
                                                      std::vector<float> theta, int threads,
                                                      DeltaShelf deltas, VersionStore* versions);

  /// Takes one event. The delta of an UpdateArrived lies on the shelf. An error is one of the disk:
  /// the state is then of no more use.
  StatusOr<Effects> process(const LoggedEvent& record);

  /// Before a snapshot of this state, and after it was restored from one: the versions that going
  /// on from it cannot make again survive a crash, and stay until the next call.
  Status persist_versions();
  /// Deltas that are still to be read, arrived or on their way; the others may go once a snapshot
  /// is safe.
  std::set<TaskId> needed_deltas() const;

  const Coordinator& coordinator() const { return *coordinator_; }
  std::span<const float> theta() const { return server_->theta(); }
  /// Theta as it is now, to be read while the run goes on.
  PublishedParams share_theta() { return server_->share_theta(); }
  /// What the last update that was applied was like.
  const UpdateGeometry& last_update() const { return server_->last_update(); }
  /// [ns] of the run's clock: of the last record.
  Nanos now() const { return now_; }
  /// Records processed since the run began.
  int64_t records() const { return records_; }

  /// All but theta, for snapshots.
  void walk_state(StateWalk& walk);
  /// Makes a fresh state go on from a snapshot: theta, then walk_state with a restoring walk.
  void restore_theta(std::span<const float> theta) { server_->set_theta(theta); }
  /// Digest over theta, the chain's planes and the coordinator: equal digests are equal states.
  std::string digest();

 private:
  ClusterState(Machine machine, std::vector<float> theta, int threads, DeltaShelf deltas,
               VersionStore* versions);
  Status check_codec(const LoggedEvent& record, const Effects& effects) const;
  Status apply(const Apply& effect);
  Status publish_for(const Task& task);
  std::set<Version> wanted_versions() const;
  Status retain_versions();

  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<ServerModel> server_;
  DeltaShelf deltas_;
  VersionStore* versions_;
  Nanos now_ = 0;
  int64_t records_ = 0;
  std::optional<Version> published_;  // the last one; files of others are there until retained
  std::map<TaskId, Version> bases_;   // of deltas to come, for a chain that needs them
  std::set<Version> pinned_;          // by the last snapshot
};

}  // namespace rubato
