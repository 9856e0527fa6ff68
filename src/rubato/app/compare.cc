#include "rubato/app/compare.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <nlohmann/json.hpp>

#include "rubato/app/build.h"
#include "rubato/app/methods.h"
#include "rubato/metrics/run_statistics.h"

namespace rubato {
namespace {

// Methods nearly always share one workload; generating or checking its data again would only take
// time.
class WorkloadCache {
 public:
  explicit WorkloadCache(int threads) : threads_(threads) {}
  StatusOr<const BuiltWorkload*> get(const Recipe& recipe) {
    std::string key;
    for (const auto& [name, value] : recipe.resolved()) {
      for (const std::string_view part : {"model.", "toy.", "quadratic.", "data.", "inner.",
                                          "train.sequence", "train.lanes", "eval.sequences"}) {
        if (name.starts_with(part)) key += cat(name, " = ", to_text(value), "\n");
      }
    }
    const auto it = built_.find(key);
    if (it != built_.end()) return &it->second;
    RUBATO_ASSIGN_OR_RETURN(BuiltWorkload built, build_workload(recipe, threads_));
    return &built_.emplace(key, std::move(built)).first->second;
  }

 private:
  int threads_;
  std::map<std::string, BuiltWorkload> built_;
};

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
  std::vector<std::string> names;
  std::vector<Recipe> recipes;
  const bool follow = std::ranges::find(plan.methods, kReferenceMethod) != plan.methods.end();
  for (const int64_t seed : plan.seeds) {
    for (const std::string& method : plan.methods) {
      names.push_back(plan.seeds.size() > 1 ? cat(method, "-seed-", seed) : method);
      RUBATO_ASSIGN_OR_RETURN(Recipe recipe, recipe_of(base, method, seed, follow));
      recipes.push_back(std::move(recipe));
    }
  }
  RUBATO_RETURN_IF_ERROR(check_sets_have_effect(base, recipes));
  Comparison comparison;
  WorkloadCache workloads(environment.threads);
  PretrainedByKey pretrained;
  for (size_t i = 0; i < recipes.size(); ++i) {
    const std::string& name = names[i];
    const Recipe& recipe = recipes[i];
    announce(name);
    RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload* built, workloads.get(recipe));
    RunEnvironment own = environment;
    own.pretrained = &pretrained;
    if (!own.directory.empty()) own.directory = join_path(environment.directory, name);
    StatusOr<RunResult> result = run_recipe(recipe, *built->workload, built->data_digest, own);
    RUBATO_RETURN_IF_ERROR(annotate(result.status(), name));
    if (result->interrupted) {
      comparison.interrupted = true;
      break;
    }
    comparison.runs.push_back(std::move(result->data));
  }
  fill_time_to_sync_loss(comparison.runs);
  if (environment.directory.empty()) return comparison;
  for (size_t i = 0; i < comparison.runs.size(); ++i) {
    RUBATO_RETURN_IF_ERROR(write_summary(*environment.files,
                                         join_path(environment.directory, names[i]),
                                         comparison.runs[i].summary));
  }
  return comparison;
}

void fill_time_to_sync_loss(std::span<RunData> runs) {
  for (RunData& run : runs) {
    const auto reference = std::ranges::find_if(runs, [&](const RunData& other) {
      return other.summary.method == kReferenceMethod && other.summary.seed == run.summary.seed;
    });
    if (reference == runs.end()) continue;
    run.summary.time_to_sync_loss_s =
        time_to_loss(run.log.evals, reference->summary.val_loss_nats + kSyncLossSlackNats);
  }
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
    for (const RunSummary& run : summaries) {
      if (run.method != method) continue;
      losses.push_back(run.val_loss_nats);
      const std::optional<size_t> baseline = sync_baseline(summaries, run);
      if (!baseline) continue;
      const RunSummary* sync = &summaries[*baseline];
      percents.push_back(perplexity_vs_sync_percent(run, sync));
      if (run.time_to_sync_loss_s && sync->time_to_sync_loss_s && *run.time_to_sync_loss_s > 0) {
        sooner.push_back(*sync->time_to_sync_loss_s / *run.time_to_sync_loss_s);
      }
    }
    // A mean over the seeds that got there would hide those that did not.
    if (sooner.size() != losses.size()) sooner.clear();
    table.rows.push_back({method, cat(losses.size()), spread_cell(losses), spread_cell(percents),
                          spread_cell(sooner)});
  }
  return table;
}

}  // namespace rubato
