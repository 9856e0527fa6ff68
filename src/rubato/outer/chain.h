// A chain: links in order, one terminal rule last. It owns the stages, runs their two passes over
// an update and is all that the server's model knows of outer rules.
#pragma once

#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rubato/base/parallel.h"
#include "rubato/outer/delta_source.h"
#include "rubato/outer/group_merge.h"
#include "rubato/outer/measure.h"
#include "rubato/outer/outer_rule.h"
#include "rubato/outer/pieces.h"

namespace rubato {

/// A chain as a recipe names it.
struct ChainSpec {
  std::vector<std::string> links;  // in the order they are applied; a name at most once
  std::string rule;                // the terminal rule
  std::map<std::string, std::map<std::string, OptionValue>> options;  // by stage name
};

/// What became of an update.
enum class Verdict {
  kPass,  // theta moved
  kHold,  // a link keeps the update: the stages up to it are applied, theta stays
  kDrop,  // discarded as too stale: no stage is planned or applied
};

/// How an update lay to the momentum it met, and how far it moved theta. NaN where there is nothing
/// to measure: no momentum yet, or none at all.
struct UpdateGeometry {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  double momentum_cosine =
      kNone;                     // between g, as the terminal rule read it, and m before the update
  double momentum_norm = kNone;  // |m| before the update
  double step_norm = kNone;      // |theta after - theta before|; 0 for an update that a link holds
  /// 1 + beta + beta^2 * c, c = <g, m> / |g|^2: Nesterov's step along g, in units of lr * g. About
  /// 1 / (1 - beta) while deltas repeat each other, 1 + beta when they have nothing in common.
  double aligned_gain = kNone;
};

class OuterChain {
 public:
  /// Resolves names and options against `entries`. NotFound for an unknown stage; InvalidArgument
  /// for an option that is unknown, out of range or meant for a stage that is not in the chain, for
  /// a stage of the wrong kind, named twice, or where it cannot have what it needs: a single delta
  /// behind a buffer, a group or the delta as it arrived behind another link, momentum of a rule
  /// without.
  static StatusOr<std::unique_ptr<OuterChain>> make(
      const ChainSpec& spec, const Layout& layout, const OuterContext& context,
      std::span<const OuterEntry* const> entries = outer_entries());

  StageNeeds needs() const { return needs_; }
  int64_t max_staleness() const;      // the smallest of the stages'; negative: none
  int64_t arrivals_per_step() const;  // the product of the stages'
  /// State of every stage under `<position>.<stage name>.`.
  void walk_state(StateWalk& walk);

  /// Folds `delta` [P] into `theta` [P]; `base` [P] may be empty unless needs().task_base. Parallel
  /// over blocks when `pool` is given; the bits do not depend on it. Not to be called from inside a
  /// job of `pool`. Reads each block of `delta` once, and once more for each of needs().delta_norm
  /// and needs().momentum. Allocates nothing.
  Verdict apply(const DeltaSource& delta, std::span<const float> base, const UpdateFacts& facts,
                std::span<float> theta, ThreadPool* pool);

  /// Folds in a group as one update: the weighted sum of its members, or what a link that
  /// needs().group makes of them, with two more passes over each and memory that is kept for the
  /// next. A lone member of weight 1 is taken as it is.
  Verdict apply(std::span<const WeightedSum::Member> group, std::span<const float> base,
                const UpdateFacts& facts, std::span<float> theta, ThreadPool* pool);

  /// From now on apply() measures what it does: in the same pass, on blocks that are hot, changing
  /// no bit of anything. Costs four sums of products a float.
  void measure_updates();
  /// Of the last apply() after measure_updates().
  const UpdateGeometry& last_update() const { return last_update_; }

  /// Turns `theta` [P], a copy of the model, into the parameters that workers are dispatched with:
  /// leaves it as it is unless needs().looks_ahead.
  void dispatch_point(std::span<float> theta, ThreadPool* pool) const;

 private:
  struct Stage {
    std::string name;
    std::unique_ptr<OuterStage> stage;
  };
  OuterChain(std::vector<Stage> stages, const Layout& layout);

  /// Plans stage after stage until one holds; returns how many are to be applied.
  size_t plan_stages(const UpdateFacts& facts);
  /// Of one piece, in double.
  struct PieceSums {
    double gg = 0, gm = 0, mm = 0, step = 0;
  };
  void apply_terminal(Block& block, const MomentumView& momentum, PieceSums& sums);
  void conclude_measurement(double beta, bool has_momentum);

  static StageNeeds needs_of(const std::vector<Stage>& stages);
  /// InvalidArgument when a stage cannot have what it needs where it stands.
  static Status check_needs(const std::vector<Stage>& stages);

  int64_t num_params_ = 0;
  StageNeeds needs_;
  Pieces pieces_;
  DeltaMeasure measure_;
  std::optional<GroupMerge> merge_;  // when needs_.group
  std::vector<Stage> stages_;
  std::vector<StagePlan> plans_;
  std::vector<PieceSums> sums_;  // by piece; only when updates are measured
  UpdateGeometry last_update_;
};

}  // namespace rubato
