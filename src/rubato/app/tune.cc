#include "rubato/app/tune.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "rubato/app/build.h"
#include "rubato/app/methods.h"

namespace rubato {

const TuningTrial* Tuning::best(const std::string& method) const {
  const TuningTrial* best = nullptr;
  for (const TuningTrial& trial : trials) {
    if (trial.method != method || !trial.val_loss_nats) continue;
    if (best == nullptr || *trial.val_loss_nats < *best->val_loss_nats) best = &trial;
  }
  return best;
}

std::vector<std::string> Tuning::methods() const {
  std::vector<std::string> names;
  for (const TuningTrial& trial : trials) {
    if (std::ranges::find(names, trial.method) == names.end()) names.push_back(trial.method);
  }
  return names;
}

bool Tuning::at_edge(const TuningTrial& trial) const {
  bool smaller = false, larger = false;
  for (const TuningTrial& other : trials) {
    if (other.method != trial.method) continue;
    smaller |= other.value < trial.value;
    larger |= other.value > trial.value;
  }
  return !smaller || !larger;
}

StatusOr<Tuning> tune_methods(const Recipe& base, const std::vector<std::string>& methods,
                              const std::vector<double>& grid, int64_t seed,
                              const RunEnvironment& environment,
                              const std::function<void(const std::string&)>& announce) {
  if (grid.empty()) return absl::InvalidArgumentError("[tune] got an empty grid, want numbers");
  Tuning tuning{.seed = seed, .trials = {}, .interrupted = false};
  std::vector<Recipe> recipes;
  RUBATO_ASSIGN_OR_RETURN(const Recipe seeded, base.with("run.seed", seed, "--seed"));
  for (const std::string& name : methods) {
    RUBATO_ASSIGN_OR_RETURN(const Method* method, find_method(name));
    if (method->tuned_key.empty()) {
      return absl::InvalidArgumentError(
          cat("[tune] ", name, ": has no outer step; leave it out of --methods"));
    }
    RUBATO_ASSIGN_OR_RETURN(const Recipe own, recipe_for_method(seeded, name));
    for (const double value : grid) {
      RUBATO_ASSIGN_OR_RETURN(Recipe recipe, own.with(method->tuned_key, value, "--grid"));
      recipes.push_back(std::move(recipe));
      tuning.trials.push_back({name, method->tuned_key, value, std::nullopt});
    }
  }
  // Only the outer step differs, so all trials share workload and pretraining.
  RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload built,
                          build_workload(recipes.front(), environment.threads));
  PretrainedByKey pretrained;
  RunEnvironment own = environment;
  own.directory.clear();
  own.pretrained = &pretrained;
  for (size_t i = 0; i < recipes.size() && !tuning.interrupted; ++i) {
    TuningTrial& trial = tuning.trials[i];
    announce(cat(trial.method, " ", trial.key, " = ", trial.value));
    const StatusOr<RunResult> result =
        run_recipe(recipes[i], *built.workload, built.data_digest, own);
    if (absl::IsFailedPrecondition(result.status())) continue;  // its loss was not finite
    RUBATO_RETURN_IF_ERROR(annotate(result.status(), trial.method));
    tuning.interrupted = result->interrupted;
    const double loss = result->data.summary.val_loss_nats;
    if (!result->interrupted && std::isfinite(loss)) trial.val_loss_nats = loss;
  }
  return tuning;
}

StatusOr<Recipe> tuned_recipe(const Recipe& base, const Tuning& tuning) {
  Recipe recipe = base;
  for (const std::string& method : tuning.methods()) {
    const TuningTrial* best = tuning.best(method);
    if (best == nullptr) continue;
    RUBATO_ASSIGN_OR_RETURN(recipe, recipe.with_overlay(method, best->key, best->value));
  }
  return recipe;
}

Table tuning_table(const Tuning& tuning) {
  Table table{{{"method", "", "what was run"},
               {"outer step", "1", "the value tried"},
               {"loss", "nats", "validation loss at the end of the budget"},
               {"best", "", "the smallest loss of the method"}},
              {}};
  for (const TuningTrial& trial : tuning.trials) {
    const bool best = &trial == tuning.best(trial.method);
    table.rows.push_back(
        {trial.method, cat(trial.value),
         trial.val_loss_nats ? cat(*trial.val_loss_nats) : std::string("diverged"),
         !best ? "" : (tuning.at_edge(trial) ? "best, at the grid's edge" : "best")});
  }
  return table;
}

nlohmann::ordered_json tuning_json(const Tuning& tuning) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const TuningTrial& trial : tuning.trials) {
    nlohmann::ordered_json row = {
        {"method", trial.method}, {"key", trial.key}, {"value", trial.value}};
    row["val_loss_nats"] = nullptr;
    row["val_perplexity"] = nullptr;
    if (trial.val_loss_nats) {
      row["val_loss_nats"] = *trial.val_loss_nats;
      row["val_perplexity"] = std::exp(*trial.val_loss_nats);
    }
    row["best"] = &trial == tuning.best(trial.method);
    rows.push_back(std::move(row));
  }
  return {{"seed", tuning.seed}, {"rows", std::move(rows)}};
}

}  // namespace rubato
