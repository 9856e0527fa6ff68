// The coordinator's model: theta and the outer chain. It executes Apply effects and publishes
// immutable versions for dispatch; all that start from one version share one copy. Memory: theta +
// the chain's planes + one copy per published version that somebody still holds; however many
// members a group has and however they are encoded, they are read block by block.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "rubato/base/parallel.h"
#include "rubato/codec/codec.h"
#include "rubato/coordinator/events.h"
#include "rubato/outer/chain.h"

namespace rubato {

/// Parameters [P] that no one changes any more.
using PublishedParams = std::shared_ptr<const std::vector<float>>;

class ServerModel {
 public:
  /// Takes over `theta` [P]. `pool` may be null; it is used, not owned, and never changes a bit.
  /// `down` is what parameters travel as; null: as they are.
  ServerModel(std::vector<float> theta, std::unique_ptr<OuterChain> chain, ThreadPool* pool,
              std::shared_ptr<const Codec> down = nullptr);

  /// One member's pseudo-gradient [P], the caller's, and, where the chain needs it, the parameters
  /// it started from.
  struct Delta {
    const DeltaSource* values = nullptr;
    std::span<const float> base = {};
  };
  /// Folds in an Apply effect; `deltas` in the order of its members. They are one update, as the
  /// chain merges them.
  void apply(const Apply& effect, std::span<const Delta> deltas);

  /// What workers start from: the current parameters, or the point that the rule looks ahead to, as
  /// their codec brings them to a worker; made at most once per change of theta.
  PublishedParams publish();
  std::span<const float> theta() const { return theta_; }
  /// Theta to keep while it goes on: the published version where that is the same, or a copy.
  PublishedParams share_theta();
  StageNeeds needs() const { return chain_->needs(); }
  /// See OuterChain: what the last apply() did, once measure_updates() was called.
  void measure_updates() { chain_->measure_updates(); }
  const UpdateGeometry& last_update() const { return chain_->last_update(); }
  /// Replaces theta [P], for a restored run.
  void set_theta(std::span<const float> theta);
  /// The chain's state; theta is saved apart, under its tensors' names.
  void walk_state(StateWalk& walk) { chain_->walk_state(walk); }

 private:
  std::vector<float> theta_;
  std::unique_ptr<OuterChain> chain_;
  ThreadPool* pool_;
  std::shared_ptr<const Codec> down_;  // null: parameters travel as they are
  PublishedParams published_;
};

}  // namespace rubato
