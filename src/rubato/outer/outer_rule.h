// How the coordinator's model folds in one pseudo-gradient: links (weight, discount, buffer, ..) in
// front of one terminal rule (sgd, nesterov, delayed_nesterov, ..). An update goes through a chain
// in two passes:
//   1. plan(facts), once per update and stage: counters move, scalars are computed, a link may hold
//      the update back;
//   2. apply(block, plan), once per cache-sized block and stage: floats move, links and terminal on
//      the same block.
// A stage allocates only when it is made, and never locks or knows about threads; blocks of one
// update may be applied in any order and at the same time. The delta itself is never modified: the
// first link that changes a block writes it to scratch, and the rest of the chain reads it there.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "rubato/base/layout.h"
#include "rubato/base/registry.h"
#include "rubato/base/state_walk.h"

namespace rubato {

class GroupMerge;

/// How a tensor of the delta, as it arrived, lies to the rule's momentum.
struct TensorStats {
  double delta_norm = 0;     // [1] |g|
  double momentum_norm = 0;  // [1] |m|, before this update
  double dot = 0;            // [1] <g, m>
};

/// Facts of one update, the same in the simulator and on a cluster.
struct UpdateFacts {
  int64_t staleness = 0;      // [versions] outer steps between dispatch and application; >= 0; of a
                              // group's stalest member, which is 0 behind a barrier
  int64_t tokens = 0;         // [tokens] consumed to make the delta
  int64_t steps = 0;          // [local steps] actually done
  int64_t group_size = 1;     // [deltas] averaged into this update
  bool closes_group = false;  // the gate lets its group go: whoever waits starts from what this
                              // update makes of theta
  double delta_norm = 0;      // [1] |delta| before any link; the chain measures it when a stage's
                              // needs().delta_norm asks, the caller leaves it alone
  std::span<const TensorStats> tensors = {};  // by tensor; measured for needs().momentum, likewise
};

/// What a stage needs beyond the delta itself; the driver keeps it available and `describe` prints
/// it.
struct StageNeeds {
  bool task_base = false;     // the parameters the task was dispatched with: pins P floats per
                              // outstanding version
  bool delta_norm = false;    // UpdateFacts.delta_norm: one more reading pass over the delta
  bool momentum = false;      // Block.m and UpdateFacts.tensors: the terminal rule must have a
                              // momentum, and one more pass reads it and the delta as it arrived,
                              // which no link in front may change
  bool group = false;         // merge(): stands first, behind a gate that averages
  bool single_delta = false;  // facts of one arrival: may not stand behind a buffer, where g is a
                              // mean and the facts are those of its last member
  bool groups = false;        // UpdateFacts.closes_group, which tells nothing where communication
                              // overlaps
  bool looks_ahead = false;   // workers are dispatched from dispatch_point(), not from theta
};

/// Scalars from plan() to apply(); their meaning is the stage's own. A stage converts them to float
/// once per block.
struct StagePlan {
  bool hold = false;  // apply this stage, then stop: theta does not move (a buffer still filling)
  double a = 0, b = 0, c = 0;
};

/// Floats of a block, 1 KiB: all its arrays sit in the first-level cache whatever the chain, and
/// the processor fetches the next block's memory while it finishes this one. Measured: a link in
/// front of a terminal rule runs at 0.7 of the memory's speed with blocks of 16 KiB, at 0.9 with
/// these.
inline constexpr int64_t kRuleBlockFloats = 256;

/// A piece of one tensor while it is hot. All pointers have `size` floats and start at `offset` of
/// the flat buffer.
struct Block {
  int64_t offset = 0;
  int64_t size = 0;             // <= kRuleBlockFloats
  int64_t tensor = 0;           // index into the layout
  float* theta = nullptr;       // the model; a terminal rule moves it
  const float* g = nullptr;     // the pseudo-gradient as the links have left it: the delta itself,
                                // or scratch once a link has changed it
  float* scratch = nullptr;     // 64-byte aligned; where a link writes what it makes of g
  const float* base = nullptr;  // theta at dispatch; null unless needs().task_base
  const float* m = nullptr;     // the terminal rule's momentum; null unless needs().momentum
};

/// What a terminal rule accumulates: the plane as it stands, and its decay.
struct MomentumView {
  std::span<const float> plane;  // [P]; empty for a rule without
  double beta = 0;               // NaN where it is not m = beta*m + g
};

/// One link or terminal rule.
class OuterStage {
 public:
  virtual ~OuterStage() = default;
  virtual StageNeeds needs() const { return {}; }
  /// Updates staler than this are discarded before any stage plans them, so no counter moves;
  /// negative: none. The coordinator asks before it books a delta as applied.
  virtual int64_t max_staleness() const { return -1; }
  /// Arrivals that make one outer step: N for a buffer, 1 otherwise. The coordinator counts
  /// versions by it.
  virtual int64_t arrivals_per_step() const { return 1; }
  /// Names every plane [P] and counter once; saving, restoring and comparing share this walk.
  virtual void walk_state(StateWalk& /*walk*/) {}
  /// For a link that needs().group: chooses what every member's tensors count, in place of the
  /// gate's weights. Called before the update is planned, never for a lone delta.
  virtual void merge(GroupMerge& /*group*/) {}
  /// Called once per update that reaches this stage, before any block of it is applied.
  virtual StagePlan plan(const UpdateFacts& facts) = 0;
  /// A link writes block.scratch[i] from block.g[i], which may lie there already, and points
  /// block.g at it; or leaves both alone. A terminal rule moves block.theta. Either moves its own
  /// state.
  virtual void apply(Block& block, const StagePlan& plan) = 0;
  /// For a terminal rule that needs().looks_ahead: moves block.theta, here a copy of the model, to
  /// where workers start. Only offset, size and theta of the block are set.
  virtual void dispatch_point(Block& /*block*/) const {}
  /// Of a terminal rule: the direction it would go on in.
  virtual MomentumView momentum() const { return {}; }
};

/// What a stage may know when it is made.
struct OuterContext {
  int64_t num_workers = 1;                   // k of the recipe, not who happens to be connected
  int64_t num_params = 0;                    // P
  std::span<const TensorSpec> tensors = {};  // the layout's, filled in by the chain; not to be kept
};

enum class StageKind { kLink, kTerminal };

struct OuterEntry
    : Entry<StatusOr<std::unique_ptr<OuterStage>>(const Options&, const OuterContext&)> {
  StageKind kind = StageKind::kTerminal;
};

/// Every link and terminal rule there is: the list in rules.cc.
std::span<const OuterEntry* const> outer_entries();

}  // namespace rubato
