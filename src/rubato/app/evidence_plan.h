// What an experiment runs, in order: every row in every cell for one seed before the next seed, so
// that a table without its spread is there early. Pure: recipes and the tuned steps in, recipes
// out.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rubato/app/experiment.h"

namespace rubato {

/// What a tuning found: by method, the keys to set.
using TunedSteps = std::map<std::string, std::vector<std::pair<std::string, double>>, std::less<>>;

/// One run of the plan.
struct PlannedRun {
  size_t cell = 0, row = 0;  // of the experiment
  int64_t seed = 0;
  Recipe recipe;              // of one method, narrowed
  std::string losses_digest;  // see losses_digest()
};

/// Every recipe is checked as far as that is possible without its data, and a `set` without effect
/// is refused. InvalidArgument with the row's name in front; FailedPrecondition when `tuned` lacks
/// the method of a tuned row.
StatusOr<std::vector<PlannedRun>> plan_experiment(const Experiment& experiment,
                                                  const TunedSteps& tuned);

/// Whether the workers' speeds decide nothing but the clock, so that runs under different speeds
/// have the same losses: every step or round waits for the slowest, arrivals come in the workers'
/// order, and nothing takes time but the steps. EvidencePlan.* holds it bit for bit.
bool speeds_only_set_the_clock(const Recipe& recipe);

/// The recipe's digest, with all speeds equal where they only set the clock: runs with the same one
/// over the same data have the same losses.
StatusOr<std::string> losses_digest(const Recipe& recipe);

/// The steps that the text of `tuning.json` marks as best; none for the text of no tuning.
TunedSteps tuned_steps(std::string_view tuning_text);

}  // namespace rubato
