#include "rubato/app/compare.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <nlohmann/json.hpp>

#include "rubato/app/build.h"
#include "rubato/app/methods.h"
#include "rubato/app/workload_cache.h"
#include "rubato/metrics/run_statistics.h"
#include "rubato/metrics/sink.h"

namespace rubato {
namespace {

bool is_asynchronous(const Recipe& recipe) {
  return recipe.text("train.mode") == "local-sgd" && recipe.text("gate.kind") != "barrier";
}

// `follow`: an asynchronous run goes on beyond the budget, to be timed against the reference.
StatusOr<Recipe> recipe_of(const Recipe& base, const std::string& method, int64_t seed,
                           bool follow) {
  RUBATO_ASSIGN_OR_RETURN(const Recipe seeded, base.with("run.seed", seed, "the comparison"));
  RUBATO_ASSIGN_OR_RETURN(Recipe recipe, recipe_for_method(seeded, method));
  if (!follow || !is_asynchronous(recipe)) return recipe;
  return recipe.with("train.extend", base.real("compare.extend"), "compare.extend");
}

// One run of the plan, checked as far as that is possible without its data.
struct PlannedRun {
  std::string name;  // of its directory
  Recipe recipe;
};

StatusOr<std::vector<PlannedRun>> plan_runs(const Recipe& base, const ComparisonPlan& plan,
                                            int threads) {
  RUBATO_RETURN_IF_ERROR(check_distinct("compare", "--methods", plan.methods));
  RUBATO_RETURN_IF_ERROR(check_distinct("compare", "--seeds", plan.seeds));
  std::vector<PlannedRun> runs;
  const bool follow = std::ranges::find(plan.methods, kReferenceMethod) != plan.methods.end();
  for (const int64_t seed : plan.seeds) {
    for (const std::string& method : plan.methods) {
      RUBATO_ASSIGN_OR_RETURN(Recipe recipe, recipe_of(base, method, seed, follow));
      RUBATO_RETURN_IF_ERROR(annotate(training_config(recipe, threads).status(), method));
      runs.push_back(
          {plan.seeds.size() > 1 ? cat(method, "-seed-", seed) : method, std::move(recipe)});
    }
  }
  return runs;
}

// A mistyped directory would otherwise start everything anew, or lose another comparison's table,
// without a word.
Status check_directory(const RunEnvironment& environment, const std::vector<PlannedRun>& runs) {
  if (environment.directory.empty()) return absl::OkStatus();
  if (!environment.resume) {
    if (!environment.files->exists(comparison_path(environment.directory))) return absl::OkStatus();
    return absl::AlreadyExistsError(cat("[compare] ", environment.directory,
                                        ": got a directory that holds a comparison, want a new "
                                        "one; --resume continues it, --out names another"));
  }
  const auto is_there = [&](const PlannedRun& run) {
    return environment.files->exists(metrics_path(join_path(environment.directory, run.name)));
  };
  if (std::ranges::any_of(runs, is_there)) return absl::OkStatus();
  return absl::NotFoundError(cat("[resume] ", environment.directory,
                                 ": got no run of this comparison, want one to continue; check "
                                 "--out, or leave --resume out"));
}

// The methods are only comparable from one starting point; a method whose overlay changes the
// pretraining says so.
std::vector<std::string> own_pretrainings(const std::vector<PlannedRun>& runs) {
  std::vector<std::string> notes;
  for (const PlannedRun& run : runs) {
    if (!run.recipe.has("pretrain.steps")) continue;
    const PlannedRun& first = *std::ranges::find_if(runs, [&](const PlannedRun& other) {
      return other.recipe.integer("run.seed") == run.recipe.integer("run.seed");
    });
    if (pretraining_key(run.recipe) == pretraining_key(first.recipe)) continue;
    notes.push_back(cat(run.name, " starts from a pretraining of its own, not from ", first.name,
                        "'s: its [methods] overlay changes more than rates and outer steps"));
  }
  return notes;
}

struct Spread {
  double mean = 0, deviation = 0;  // of a sample; 0 for one value
};

Spread spread_of(const std::vector<double>& values) {
  Spread spread;
  const auto count = static_cast<double>(values.size());
  for (const double value : values) spread.mean += value / count;
  double squares = 0;
  for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
  if (values.size() > 1) spread.deviation = std::sqrt(squares / (count - 1));
  return spread;
}

std::string spread_cell(const std::vector<double>& values) {
  if (values.empty()) return "-";
  const Spread spread = spread_of(values);
  return cat(spread.mean, " +- ", std::round(spread.deviation * 1e4) / 1e4);
}

}  // namespace

StatusOr<Comparison> compare_methods(const Recipe& base, const ComparisonPlan& plan,
                                     const RunEnvironment& environment,
                                     const std::function<void(const std::string&)>& announce) {
  // Every recipe is checked before the first run: an error in the last one is cheap now.
  RUBATO_ASSIGN_OR_RETURN(const std::vector<PlannedRun> planned,
                          plan_runs(base, plan, environment.threads));
  std::vector<Recipe> recipes;
  for (const PlannedRun& run : planned) recipes.push_back(run.recipe);
  RUBATO_RETURN_IF_ERROR(
      check_sets_have_effect(base, recipes, {"compare.methods", "compare.extend"}));
  RUBATO_RETURN_IF_ERROR(check_directory(environment, planned));
  DirectoryLock lock;  // each run locks its own, but the table belongs to all of them
  if (!environment.directory.empty()) {
    RUBATO_RETURN_IF_ERROR(environment.files->make_directories(environment.directory));
    RUBATO_ASSIGN_OR_RETURN(lock, environment.files->lock_directory(environment.directory));
  }
  Comparison comparison;
  comparison.notes = own_pretrainings(planned);
  const auto goes_on = [](const Recipe& recipe) { return recipe.real("train.extend") > 1; };
  if (std::ranges::any_of(recipes, goes_on)) {
    comparison.notes.push_back(cat("asynchronous runs go on to ", base.real("compare.extend"),
                                   " x the budget, to find when "
                                   "they reach ",
                                   kReferenceMethod,
                                   "'s loss; losses in the table are those at the budget"));
  }
  WorkloadCache workloads(environment.threads);
  PretrainedByKey pretrained;
  for (const auto& [name, recipe] : planned) {
    announce(name);
    RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload* built, workloads.get(recipe));
    RunEnvironment own = environment;
    own.pretrained = &pretrained;
    if (!own.directory.empty()) own.directory = join_path(environment.directory, name);
    if (!own.tensorboard.empty()) own.tensorboard = join_path(environment.tensorboard, name);
    StatusOr<RunResult> result = run_recipe(recipe, *built->workload, built->data_digest, own);
    RUBATO_RETURN_IF_ERROR(annotate(result.status(), name));
    if (result->interrupted) {
      comparison.interrupted = true;
      break;
    }
    if (!result->diverged.empty()) {
      comparison.notes.push_back(cat(name, " diverged: ", result->diverged));
    }
    comparison.names.push_back(name);
    comparison.runs.push_back(std::move(result->data));
  }
  fill_time_to_sync_loss(comparison.runs);
  if (environment.directory.empty()) return comparison;
  for (size_t i = 0; i < comparison.runs.size(); ++i) {
    RUBATO_RETURN_IF_ERROR(write_summary(*environment.files,
                                         join_path(environment.directory, comparison.names[i]),
                                         comparison.runs[i].summary));
  }
  return comparison;
}

void fill_time_to_sync_loss(std::span<RunData> runs) {
  for (RunData& run : runs) {
    const auto reference = std::ranges::find_if(runs, [&](const RunData& other) {
      return other.summary.method == kReferenceMethod && other.summary.seed == run.summary.seed;
    });
    // A loss that a run passed on its way to divergence is not one that it reached.
    if (reference == runs.end() || !run.summary.failure.empty()) continue;
    run.summary.time_to_sync_loss_s =
        time_to_loss(run.log.evals, reference->summary.val_loss_nats + kSyncLossSlackNats);
  }
}

std::string comparison_path(const std::string& directory) {
  return join_path(directory, "comparison.json");
}

nlohmann::ordered_json comparison_json(std::span<const RunData> runs) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const RunData& run : runs) rows.push_back(to_json(run.summary));
  return {{"rows", std::move(rows)}};
}

Table spread_table(std::span<const RunData> runs) {
  Table table;
  std::vector<RunSummary> summaries;
  std::vector<std::string> methods;
  for (const RunData& run : runs) {
    summaries.push_back(run.summary);
    if (std::ranges::find(methods, run.summary.method) == methods.end()) {
      methods.push_back(run.summary.method);
    }
  }
  if (methods.size() == runs.size()) return table;
  table.columns = {{"method", "", "what was run"},
                   {"seeds", "1", "runs of the method"},
                   {"loss", "nats", "validation loss: mean and standard deviation"},
                   {"perplexity vs sync", "%", "against sync-diloco of the same seed"},
                   {"sooner than sync", "x", "sync's time to its loss over this run's time to it"}};
  for (const std::string& method : methods) {
    std::vector<double> losses, percents, sooner;
    size_t seeds = 0;
    for (const RunSummary& run : summaries) {
      if (run.method != method) continue;
      ++seeds;
      if (!run.failure.empty()) continue;
      losses.push_back(run.val_loss_nats);
      const std::optional<size_t> baseline = sync_baseline(summaries, run);
      if (!baseline) continue;
      const RunSummary* sync = &summaries[*baseline];
      if (!sync->failure.empty()) continue;
      percents.push_back(perplexity_vs_sync_percent(run, sync));
      if (run.time_to_sync_loss_s && sync->time_to_sync_loss_s && *run.time_to_sync_loss_s > 0) {
        sooner.push_back(*sync->time_to_sync_loss_s / *run.time_to_sync_loss_s);
      }
    }
    // A mean over the seeds that got there would hide those that did not.
    if (losses.size() != seeds) losses.clear();
    if (percents.size() != seeds) percents.clear();
    if (sooner.size() != seeds) sooner.clear();
    table.rows.push_back(
        {method, cat(seeds), spread_cell(losses), spread_cell(percents), spread_cell(sooner)});
  }
  return table;
}

}  // namespace rubato
