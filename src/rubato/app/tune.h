// The step of each method (outer step, or the rate of k-batch) by a plain grid: every value is run,
// the one with the smallest validation loss wins. Tune on another seed than the one that is
// compared.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "rubato/app/run.h"
#include "rubato/metrics/table.h"

namespace rubato {

struct TuningTrial {
  std::string method;
  std::string key;      // what is tuned: outer.nesterov.lr
  double value = 0;     // of the grid
  bool factor = false;  // the value multiplies what the recipe says
  std::vector<std::pair<std::string, double>> settings;  // what the recipe becomes, by key
  std::string run;    // digests of its recipe and data: what its loss follows from
  bool done = false;  // false only when the tuning was interrupted before
  std::optional<double> val_loss_nats;  // absent when the run diverged
};

/// Losses of trials that are done, by TuningTrial::run; absent for a run that diverged.
using KnownLosses = std::map<std::string, std::optional<double>>;

struct TuningPlan {
  std::vector<std::string> methods;
  std::vector<double> grid = {};  // empty: the recipe's tune.grid, or tune.factors
  std::map<std::string, std::vector<double>> grids = {};  // by method; wins over `grid`
  int64_t seed = 1000;                                    // run.seed of every trial
  KnownLosses known = {};                                 // trials that need not run again
};

struct Tuning {
  int64_t seed = 0;
  std::vector<TuningTrial> trials;  // by method, then in the order of the grid
  bool interrupted = false;

  /// The best trial of a method; nullptr when none has a loss.
  const TuningTrial* best(const std::string& method) const;
  /// The methods tried, in order.
  std::vector<std::string> methods() const;
  /// The best value is the smallest or largest of the grid: the grid is too narrow.
  bool at_edge(const TuningTrial& trial) const;
};

/// Runs methods x grid in memory. `announce` is called before each run, `keep` after it with
/// everything found so far. InvalidArgument without a method, for one that has nothing to tune, and
/// for a method or a value that comes twice; `keep`'s errors.
StatusOr<Tuning> tune_methods(const Recipe& base, const TuningPlan& plan,
                              const RunEnvironment& environment,
                              const std::function<void(const std::string&)>& announce,
                              const std::function<Status(const Tuning&)>& keep);

/// The recipe with every best value in [methods.NAME].
StatusOr<Recipe> tuned_recipe(const Recipe& base, const Tuning& tuning);

Table tuning_table(const Tuning& tuning);
/// {"seed": .., "rows": [{method, key, value, settings, run, val_loss_nats, val_perplexity, best},
/// ..]}: `earlier` rows in their order, each replaced by the trial of the same run, then the other
/// trials that are done. Nothing of another plan is the best of this one.
nlohmann::ordered_json tuning_json(const Tuning& tuning,
                                   const nlohmann::ordered_json& earlier = {});
/// The rows of the text of such an object; DataLoss with `who` in front when it is no such object.
StatusOr<nlohmann::ordered_json> tuning_rows(const std::string& who, std::string_view text);
/// What such rows know.
KnownLosses known_losses(const nlohmann::ordered_json& rows);

}  // namespace rubato
