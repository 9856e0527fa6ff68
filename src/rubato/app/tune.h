// The step of each method (outer step, or the rate of k-batch) by a plain grid: every value is run,
// the one with the smallest validation loss wins. Tune on another seed than the one that is
// compared.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "rubato/app/run.h"
#include "rubato/metrics/table.h"

namespace rubato {

struct TuningTrial {
  std::string method;
  std::string key;      // what is tuned: outer.nesterov.lr
  double value = 0;     // of the grid
  bool factor = false;  // the value multiplies what the recipe says
  std::vector<std::pair<std::string, double>> settings;  // what the recipe becomes, by key
  std::optional<double> val_loss_nats;                   // absent when the run diverged
};

struct Tuning {
  int64_t seed = 0;
  std::vector<TuningTrial> trials;  // by method, then in the order of the grid
  bool interrupted = false;

  /// The best trial of a method; nullptr when all diverged.
  const TuningTrial* best(const std::string& method) const;
  /// The methods tried, in order.
  std::vector<std::string> methods() const;
  /// The best value is the smallest or largest of the grid: the grid is too narrow.
  bool at_edge(const TuningTrial& trial) const;
};

/// Runs methods x grid in memory with run.seed = seed; an empty `grid` is the recipe's: tune.grid,
/// or tune.factors for methods that are tuned by factors. InvalidArgument without a method, for one
/// that has nothing to tune, and for one that comes twice.
StatusOr<Tuning> tune_methods(const Recipe& base, const std::vector<std::string>& methods,
                              const std::vector<double>& grid, int64_t seed,
                              const RunEnvironment& environment,
                              const std::function<void(const std::string&)>& announce);

/// The recipe with every best value in [methods.NAME].
StatusOr<Recipe> tuned_recipe(const Recipe& base, const Tuning& tuning);

Table tuning_table(const Tuning& tuning);
/// {"seed": .., "rows": [{method, key, value, settings, val_loss_nats, val_perplexity, best}, ..]}.
nlohmann::ordered_json tuning_json(const Tuning& tuning);

}  // namespace rubato
