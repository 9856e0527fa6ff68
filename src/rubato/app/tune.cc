#include "rubato/app/tune.h"

#include <algorithm>
#include <cmath>

#include "rubato/app/build.h"
#include "rubato/app/methods.h"
#include "rubato/app/workload_cache.h"

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

namespace {

// The trials of one method, and the recipe of each.
Status plan_trials(const Recipe& seeded, const std::string& name, const std::vector<double>& grid,
                   Tuning& tuning, std::vector<Recipe>& recipes) {
  RUBATO_ASSIGN_OR_RETURN(const Method* method, find_method(name));
  if (method->tuned_key.empty()) {
    return absl::InvalidArgumentError(
        cat("[tune] got ", name, ", want a method with a step to tune; leave it out of --methods"));
  }
  const char* own_grid = method->tuned_by_factor() ? "tune.factors" : "tune.grid";
  const std::vector<double>& values = grid.empty() ? seeded.reals(own_grid) : grid;
  if (values.empty()) return seeded.error(own_grid, "got an empty grid, want numbers");
  RUBATO_RETURN_IF_ERROR(check_distinct("tune", grid.empty() ? own_grid : "--grid", values));
  RUBATO_ASSIGN_OR_RETURN(const Recipe own, recipe_for_method(seeded, name));
  for (const double value : values) {
    TuningTrial trial{.method = name,
                      .key = method->tuned_key,
                      .value = value,
                      .factor = method->tuned_by_factor(),
                      .settings = method->tuned_values(seeded, value),
                      .run = {},
                      .val_loss_nats = {}};
    Recipe recipe = own;
    for (const auto& [key, set_to] : trial.settings) {
      RUBATO_ASSIGN_OR_RETURN(recipe, recipe.with(key, set_to, "--grid"));
    }
    RUBATO_RETURN_IF_ERROR(annotate(training_config(recipe, 1).status(), name));
    recipes.push_back(std::move(recipe));
    tuning.trials.push_back(std::move(trial));
  }
  return absl::OkStatus();
}

std::string step_text(const TuningTrial& trial) {
  return cat(trial.factor ? "x " : "", trial.value);
}

nlohmann::ordered_json trial_json(const TuningTrial& trial, bool best) {
  nlohmann::ordered_json row = {
      {"method", trial.method}, {"key", trial.key}, {"value", trial.value}};
  for (const auto& [key, value] : trial.settings) row["settings"][key] = value;
  row["run"] = trial.run;
  row["val_loss_nats"] = nullptr;
  row["val_perplexity"] = nullptr;
  if (trial.val_loss_nats) {
    row["val_loss_nats"] = *trial.val_loss_nats;
    row["val_perplexity"] = std::exp(*trial.val_loss_nats);
  }
  row["best"] = best;
  return row;
}

StatusOr<std::vector<Recipe>> plan_tuning(const Recipe& base, const TuningPlan& plan,
                                          Tuning& tuning) {
  if (plan.methods.empty()) {
    return absl::InvalidArgumentError(
        "[tune] got no method with a step to tune, want at least one; give --methods or "
        "compare.methods, e.g. sync-diloco,dn-dylu");
  }
  RUBATO_RETURN_IF_ERROR(check_distinct("tune", "--methods", plan.methods));
  std::vector<Recipe> recipes;
  RUBATO_ASSIGN_OR_RETURN(const Recipe seeded, base.with("run.seed", plan.seed, "--seed"));
  for (const std::string& name : plan.methods) {
    const auto own = plan.grids.find(name);
    const std::vector<double>& grid = own == plan.grids.end() ? plan.grid : own->second;
    RUBATO_RETURN_IF_ERROR(plan_trials(seeded, name, grid, tuning, recipes));
  }
  RUBATO_RETURN_IF_ERROR(
      check_sets_have_effect(base, recipes, {"compare.methods", "tune.grid", "tune.factors"}));
  return recipes;
}

}  // namespace

StatusOr<Tuning> tune_methods(const Recipe& base, const TuningPlan& plan,
                              const RunEnvironment& environment,
                              const std::function<void(const std::string&)>& announce,
                              const std::function<Status(const Tuning&)>& keep) {
  Tuning tuning{.seed = plan.seed, .trials = {}, .interrupted = false};
  RUBATO_ASSIGN_OR_RETURN(const std::vector<Recipe> recipes, plan_tuning(base, plan, tuning));
  WorkloadCache workloads(environment.threads);
  PretrainedByKey pretrained;
  RunEnvironment own = environment;
  own.directory.clear();
  own.pretrained = &pretrained;
  for (size_t i = 0; i < recipes.size(); ++i) {
    TuningTrial& trial = tuning.trials[i];
    RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload* built, workloads.get(recipes[i]));
    trial.run = cat(recipes[i].digest(), "-", built->data_digest);
    if (const auto known = plan.known.find(trial.run); known != plan.known.end()) {
      trial.val_loss_nats = known->second;
      trial.done = true;
      continue;
    }
    announce(cat(trial.method, " ", trial.key, " = ", step_text(trial)));
    const StatusOr<RunResult> result =
        run_recipe(recipes[i], *built->workload, built->data_digest, own);
    RUBATO_RETURN_IF_ERROR(annotate(result.status(), trial.method));
    tuning.interrupted = result->interrupted;
    if (result->interrupted) break;
    trial.done = true;
    if (result->diverged.empty()) trial.val_loss_nats = result->data.summary.val_loss_nats;
    RUBATO_RETURN_IF_ERROR(keep(tuning));
  }
  return tuning;
}

StatusOr<Recipe> tuned_recipe(const Recipe& base, const Tuning& tuning) {
  Recipe recipe = base;
  for (const std::string& method : tuning.methods()) {
    const TuningTrial* best = tuning.best(method);
    if (best == nullptr) continue;
    for (const auto& [key, value] : best->settings) {
      RUBATO_ASSIGN_OR_RETURN(recipe, recipe.with_overlay(method, key, value));
    }
  }
  return recipe;
}

Table tuning_table(const Tuning& tuning) {
  Table table{{{"method", "", "what was run"},
               {"step", "1", "the value tried; x: a factor of the rates"},
               {"loss", "nats", "validation loss at the end of the budget"},
               {"best", "", "the smallest loss of the method"}},
              {}};
  for (const TuningTrial& trial : tuning.trials) {
    const bool best = &trial == tuning.best(trial.method);
    table.rows.push_back(
        {trial.method, step_text(trial),
         trial.val_loss_nats ? cat(*trial.val_loss_nats) : std::string("diverged"),
         !best ? "" : (tuning.at_edge(trial) ? "best, at the grid's edge" : "best")});
  }
  return table;
}

nlohmann::ordered_json tuning_json(const Tuning& tuning, const nlohmann::ordered_json& earlier) {
  std::map<std::string, nlohmann::ordered_json> trials;  // by run
  std::vector<std::string> order;
  for (const TuningTrial& trial : tuning.trials) {
    if (!trial.done) continue;
    trials[trial.run] = trial_json(trial, &trial == tuning.best(trial.method));
    order.push_back(trial.run);
  }
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (nlohmann::ordered_json row : earlier) {
    row["best"] = false;
    const auto again = trials.extract(row["run"].get<std::string>());
    rows.push_back(again.empty() ? std::move(row) : again.mapped());
  }
  for (const std::string& run : order) {
    if (const auto fresh = trials.extract(run); !fresh.empty()) rows.push_back(fresh.mapped());
  }
  return {{"seed", tuning.seed}, {"rows", std::move(rows)}};
}

StatusOr<nlohmann::ordered_json> tuning_rows(const std::string& who, std::string_view text) {
  const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  const auto bad = [&] {
    return absl::DataLossError(cat("[tune] ", who,
                                   ": got no sound tuning, want what `rubato tune` "
                                   "wrote; another --out starts anew"));
  };
  if (!json.is_object() || !json.contains("rows") || !json["rows"].is_array()) return bad();
  for (const nlohmann::ordered_json& row : json["rows"]) {
    if (!row.is_object() || !row.contains("run") || !row["run"].is_string()) return bad();
    const auto loss = row.find("val_loss_nats");
    if (loss == row.end() || !(loss->is_number() || loss->is_null())) return bad();
  }
  return json["rows"];
}

KnownLosses known_losses(const nlohmann::ordered_json& rows) {
  KnownLosses known;
  for (const nlohmann::ordered_json& row : rows) {
    const nlohmann::ordered_json& loss = row["val_loss_nats"];
    known[row["run"].get<std::string>()] =
        loss.is_null() ? std::nullopt : std::optional(loss.get<double>());
  }
  return known;
}

}  // namespace rubato
