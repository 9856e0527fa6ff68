#include "rubato/app/evidence_plan.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "rubato/app/build.h"
#include "rubato/app/methods.h"
#include "rubato/app/tune.h"

namespace rubato {
namespace {

std::vector<std::string> joined(std::vector<std::string> first,
                                const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

bool is_asynchronous(const Recipe& recipe) {
  return recipe.text("train.mode") == "local-sgd" && recipe.text("gate.kind") != "barrier";
}

StatusOr<Recipe> with_tuned_step(Recipe recipe, const Experiment& experiment,
                                 const ExperimentRow& row, const TunedSteps& tuned) {
  const auto steps = tuned.find(row.method);
  if (steps == tuned.end()) {
    return absl::FailedPreconditionError(cat("[evidence] ", experiment.name, ": got no step for ",
                                             row.method, ", want it from ", experiment.tuning));
  }
  for (const auto& [key, value] : steps->second) {
    RUBATO_ASSIGN_OR_RETURN(recipe, recipe.with_overlay(row.method, key, value));
  }
  return recipe;
}

// Of one cell, for the experiment's first seed.
StatusOr<Recipe> recipe_of_row(const Experiment& experiment, const ExperimentCell& cell,
                               const ExperimentRow& row, const TunedSteps& tuned) {
  RUBATO_ASSIGN_OR_RETURN(Recipe base, recipe_under(experiment.base, joined(cell.sets, row.sets)));
  if (row.tuned) {
    RUBATO_ASSIGN_OR_RETURN(base, with_tuned_step(std::move(base), experiment, row, tuned));
  }
  RUBATO_ASSIGN_OR_RETURN(
      base, base.with("run.seed", experiment.seeds.front(), cat(experiment.name, ": seeds")));
  RUBATO_ASSIGN_OR_RETURN(Recipe recipe, recipe_for_method(base, row.method));
  if (is_asynchronous(recipe)) {
    RUBATO_ASSIGN_OR_RETURN(
        recipe, recipe.with("train.extend", base.real("compare.extend"), "compare.extend"));
  }
  RUBATO_RETURN_IF_ERROR(training_config(recipe, 1).status());
  RUBATO_ASSIGN_OR_RETURN(const Recipe own, recipe_under(experiment.base, row.sets));
  RUBATO_RETURN_IF_ERROR(check_sets_have_effect(own, std::span(&recipe, 1), {"compare.extend"}));
  return recipe;
}

StatusOr<std::vector<PlannedRun>> plan_cell(const Experiment& experiment, size_t cell_index,
                                            const TunedSteps& tuned) {
  const ExperimentCell& cell = experiment.cells[cell_index];
  std::vector<PlannedRun> runs;
  std::vector<Recipe> recipes;
  for (size_t r = 0; r < experiment.rows.size(); ++r) {
    const ExperimentRow& row = experiment.rows[r];
    if (!row.runs_in(cell)) continue;
    StatusOr<Recipe> recipe = recipe_of_row(experiment, cell, row, tuned);
    RUBATO_RETURN_IF_ERROR(annotate(recipe.status(), cat(experiment.name, ", row ", row.name)));
    recipes.push_back(*recipe);
    runs.push_back({cell_index, r, experiment.seeds.front(), *std::move(recipe), ""});
  }
  RUBATO_ASSIGN_OR_RETURN(const Recipe of_cell, recipe_under(experiment.base, cell.sets));
  RUBATO_RETURN_IF_ERROR(annotate(check_sets_have_effect(of_cell, recipes, {"compare.extend"}),
                                  cat(experiment.name, ", cell ", cell.name)));
  return runs;
}

}  // namespace

StatusOr<std::vector<PlannedRun>> plan_experiment(const Experiment& experiment,
                                                  const TunedSteps& tuned) {
  std::vector<PlannedRun> of_a_seed, plan;
  for (size_t c = 0; c < experiment.cells.size(); ++c) {
    RUBATO_ASSIGN_OR_RETURN(const std::vector<PlannedRun> of_cell, plan_cell(experiment, c, tuned));
    of_a_seed.insert(of_a_seed.end(), of_cell.begin(), of_cell.end());
  }
  for (const int64_t seed : experiment.seeds) {
    for (PlannedRun run : of_a_seed) {
      run.seed = seed;
      RUBATO_ASSIGN_OR_RETURN(run.recipe, run.recipe.with("run.seed", seed, "seeds"));
      RUBATO_ASSIGN_OR_RETURN(run.losses_digest, losses_digest(run.recipe));
      plan.push_back(std::move(run));
    }
  }
  return plan;
}

bool speeds_only_set_the_clock(const Recipe& recipe) {
  for (const char* key :
       {"join_s", "leave_s", "return_s", "down_bytes_per_s", "up_bytes_per_s", "latency_s"}) {
    if (!recipe.reals(cat("fleet.", key)).empty()) return false;
  }
  if (recipe.text("train.mode") != "local-sgd") return true;
  const std::vector<double>& speeds = recipe.reals("fleet.seconds_per_step");
  const int64_t round = std::ssize(speeds) * recipe.integer("train.local_steps");
  return recipe.text("gate.kind") == "barrier" && recipe.text("policy.kind") == "fixed" &&
         std::ranges::is_sorted(speeds) && recipe.real("train.extend") == 1 &&
         recipe.integer("train.budget_local_steps") % round == 0;
}

StatusOr<std::string> losses_digest(const Recipe& recipe) {
  if (!speeds_only_set_the_clock(recipe)) return recipe.digest();
  const std::vector<double> equal(recipe.reals("fleet.seconds_per_step").size(), 1.0);
  RUBATO_ASSIGN_OR_RETURN(const Recipe same,
                          recipe.with("fleet.seconds_per_step", equal, "losses_digest"));
  return same.digest();
}

TunedSteps tuned_steps(std::string_view tuning_text) {
  TunedSteps steps;
  const auto json = nlohmann::ordered_json::parse(tuning_text, nullptr, false);
  if (!json.is_object() || !json.contains("rows") || !json["rows"].is_array()) return steps;
  for (const nlohmann::ordered_json& row : json["rows"]) {
    const bool whole = row.is_object() && row.contains("best") && row["best"].is_boolean() &&
                       row.contains("method") && row["method"].is_string() &&
                       row.contains("settings") && row["settings"].is_object();
    if (!whole || !row["best"].get<bool>()) continue;
    auto& settings = steps[row["method"].get<std::string>()];
    for (const auto& [key, value] : row["settings"].items()) {
      if (value.is_number()) settings.emplace_back(key, value.get<double>());
    }
  }
  return steps;
}

}  // namespace rubato
