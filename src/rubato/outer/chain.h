// A chain: links in order, one terminal rule last. It owns the stages, runs their two passes over
// an update and is all that the server's model knows of outer rules.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rubato/base/parallel.h"
#include "rubato/outer/outer_rule.h"

namespace rubato {

/// A chain as a recipe names it.
struct ChainSpec {
  std::vector<std::string> links;  // in the order they are applied
  std::string rule;                // the terminal rule
  std::map<std::string, std::map<std::string, OptionValue>> options;  // by stage name
};

class OuterChain {
 public:
  /// Resolves names and options; NotFound or InvalidArgument in the registry's words.
  static StatusOr<std::unique_ptr<OuterChain>> make(const ChainSpec& spec, const Layout& layout,
                                                    const OuterContext& context);

  StageNeeds needs() const;
  int64_t max_staleness() const;      // the smallest of the stages'; negative: none
  int64_t arrivals_per_step() const;  // the product of the stages'
  /// State of every stage under `<position>.<stage name>.`.
  void walk_state(StateWalk& walk);

  /// Folds `delta` [P] into `theta` [P]; `base` [P] may be empty unless needs().task_base. Parallel
  /// over blocks when `pool` is given; the bits do not depend on it. Returns kPass when theta
  /// moved, kHold when it was buffered, kDrop when it was discarded.
  Verdict apply(std::span<const float> delta, std::span<const float> base, const UpdateFacts& facts,
                std::span<float> theta, ThreadPool* pool);

 private:
  struct Stage {
    std::string name;
    std::unique_ptr<OuterStage> stage;
  };
  OuterChain(std::vector<Stage> stages, const Layout& layout);

  struct Piece {  // a block of the flat buffer that lies within one tensor
    int64_t tensor, offset, size;
  };
  std::vector<Stage> stages_;
  std::vector<Piece> pieces_;
  std::vector<StagePlan> plans_;
};

}  // namespace rubato
