#include "rubato/app/plan.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "rubato/app/build.h"
#include "rubato/app/methods.h"
#include "rubato/lm/toy_network.h"
#include "rubato/metrics/format.h"
#include "rubato/text/token_dataset.h"

namespace rubato {
namespace {

// Of virtual time, in the longest task of anybody: until the fleet has found its rhythm, and what
// is measured.
constexpr int64_t kWarmUpTasks = 10, kMeasuredTasks = 40;
// More than any fleet needs that is not extremely unequal; there the measured time is shorter.
constexpr int64_t kMostDispatches = 4'000'000;

struct Cell {
  std::string method;
  int64_t local_steps = 0;
  std::string overlap;
  PlanGrid::CodecPair codecs;
};

std::vector<Cell> cells_of(const PlanGrid& grid) {
  std::vector<Cell> cells;
  for (const std::string& method : grid.methods) {
    for (const std::string& overlap : grid.overlaps) {
      for (const PlanGrid::CodecPair& codecs : grid.codecs) {
        for (const int64_t h : grid.local_steps) cells.push_back({method, h, overlap, codecs});
      }
    }
  }
  return cells;
}

// The recipe of a cell; nullopt where the method itself decides and another cell has that.
StatusOr<std::optional<Recipe>> recipe_of(const Recipe& base, const Cell& cell) {
  RUBATO_ASSIGN_OR_RETURN(const Method* method, find_method(cell.method));
  Recipe recipe = base;
  const std::pair<std::string, OptionValue> keys[] = {{"train.local_steps", cell.local_steps},
                                                      {"train.overlap", cell.overlap},
                                                      {"codec.up", cell.codecs.up},
                                                      {"codec.down", cell.codecs.down}};
  for (const auto& [key, value] : keys) {
    const auto decided =
        std::ranges::find(method->overrides, key, [](const auto& o) { return o.first; });
    if (decided != method->overrides.end()) {
      if (decided->second != value) return std::optional<Recipe>();
      continue;
    }
    RUBATO_ASSIGN_OR_RETURN(recipe, recipe.with(key, value, "the plan"));
  }
  RUBATO_ASSIGN_OR_RETURN(recipe, recipe_for_method(recipe, cell.method));
  if (recipe.text("train.mode") == "pretrain-only") {
    return absl::InvalidArgumentError(
        cat("[plan] --methods: got ", cell.method, ", which has no workers, want one that has"));
  }
  return std::optional<Recipe>(std::move(recipe));
}

// What a row shows: what is in force, which a method may have decided.
PlanRow row_of(const Recipe& recipe, const SimulationConfig& config) {
  PlanRow row;
  row.method = config.method;
  row.codecs = {config.up_codec.name, config.down_codec.name};
  row.local_steps = config.coordinator.local_steps;
  row.overlap = recipe.text("train.overlap");
  if (config.stands_for.empty()) return row;
  row.local_steps = 1;  // k x batch exchanges in every step
  row.overlap = "none";
  return row;
}

std::string row_name(const PlanRow& row) {
  return cat(row.method, ", H ", row.local_steps, ", overlap ", row.overlap, ", ", row.codecs.up,
             "/", row.codecs.down);
}

StatusOr<TimingFigures> timed(SimulationConfig config, const ModelFacts& model) {
  RUBATO_ASSIGN_OR_RETURN(const std::unique_ptr<TimingRun> run,
                          TimingRun::make(std::move(config), model));
  const Nanos task = std::min(run->longest_task(), kLongestTime);
  run->run_until(kWarmUpTasks * task, kMostDispatches);
  return run->run_until((kWarmUpTasks + kMeasuredTasks) * task, kMostDispatches);
}

bool keeps(const PlanRow& row, const PlanLimits& limits) {
  const TimingFigures& figures = row.figures;
  return !(limits.staleness_mean && figures.staleness_mean() > *limits.staleness_mean) &&
         !(limits.staleness_most && figures.staleness_quantile(1) > *limits.staleness_most) &&
         !(limits.gb_per_day && row.gb_up_per_day() + row.gb_down_per_day() > *limits.gb_per_day);
}

template <class T>
size_t place_of(const std::vector<T>& list, const T& value) {
  return static_cast<size_t>(std::ranges::find(list, value) - list.begin());
}

double percent(double share) { return 100 * share; }

// The plainest of the rows that cost no more time than the tolerance: methods, overlaps and codecs
// in the order of the grid, then the smallest H.
Status recommend(const PlanGrid& grid, const PlanLimits& limits, Plan& plan) {
  const auto first = std::ranges::find(plan.rows, true, &PlanRow::keeps_limits);
  if (first == plan.rows.end()) {
    return absl::InvalidArgumentError(
        cat("[plan] got limits that none of ", plan.rows.size(),
            " combinations keeps, want larger ones, or a grid with larger H or other methods"));
  }
  const double most = first->seconds_per_1b_tokens() * (1 + limits.tolerance);
  const auto departure = [&](const PlanRow& row) {
    const size_t out = !row.keeps_limits || row.seconds_per_1b_tokens() > most ? 1 : 0;
    return std::tuple(out, place_of(grid.methods, row.method), place_of(grid.overlaps, row.overlap),
                      place_of(grid.codecs, row.codecs), row.local_steps);
  };
  const auto chosen = std::ranges::min_element(plan.rows, {}, departure);
  plan.recommended = static_cast<size_t>(chosen - plan.rows.begin());
  plan.reason =
      cat(fixed(percent(chosen->figures.utilisation()), 1), " % of the fleet's speed, staleness ",
          fixed(chosen->figures.staleness_mean(), 1));
  if (chosen == first) {
    plan.reason += ", and nothing within the limits is faster";
  } else {
    plan.reason += cat("; the fastest within the limits (", row_name(*first), ") has ",
                       fixed(percent(first->figures.utilisation()), 1),
                       " %, which is not worth another change of the training");
  }
  for (const std::string& method : grid.methods) {
    if (method == chosen->method) continue;
    const auto other = std::ranges::find(plan.rows, method, &PlanRow::method);
    if (other == plan.rows.end()) continue;
    plan.reason += cat("; ", method, " reaches ", fixed(percent(other->figures.utilisation()), 1),
                       " % at best");
  }
  return absl::OkStatus();
}

StatusOr<int64_t> params_of(const Recipe& recipe) {
  const std::string& kind = recipe.text(kModelKind);
  if (kind == "quadratic") return recipe.integer("quadratic.dim");
  if (kind == "toy")
    return ToyShape{.inputs = recipe.integer("toy.inputs"), .hidden = recipe.integer("toy.hidden")}
        .layout()
        .size();
  if (kind == kOpaqueModel)
    return absl::InvalidArgumentError(
        "[plan] got an opaque model, which only its workers know, want --params N");
  // The text decides the vocabulary where the recipe does not; without it the preset's is taken.
  int64_t vocab = 0;
  if (!recipe.has("model.vocab") && !recipe.text("data.directory").empty()) {
    const auto dataset = TokenDataset::open(recipe.text("data.directory"));
    if (dataset.ok()) vocab = (*dataset)->vocab_size();
  }
  RUBATO_ASSIGN_OR_RETURN(const ModelConfig model, build_model(recipe, vocab));
  RUBATO_RETURN_IF_ERROR(validate(model));
  return model_layout(model).size();
}

}  // namespace

double PlanRow::gb_up_per_day() const {
  return static_cast<double>(figures.bytes_up) * 86400e-9 / to_seconds(figures.window);
}

double PlanRow::gb_down_per_day() const {
  return static_cast<double>(figures.bytes_down) * 86400e-9 / to_seconds(figures.window);
}

StatusOr<PlanGrid::CodecPair> parse_codec_pair(const std::string& text) {
  const size_t cut = text.find('/');
  PlanGrid::CodecPair pair{text.substr(0, cut),
                           cut == std::string::npos ? text : text.substr(cut + 1)};
  // A codec that parameters cannot take is no reason to ask for its name twice.
  if (cut == std::string::npos && std::ranges::find(kDownCodecs, text) == std::end(kDownCodecs))
    pair.down = "bf16";
  RUBATO_RETURN_IF_ERROR(annotate(make_codec(pair.up).status(), "plan --codecs"));
  if (std::ranges::find(kDownCodecs, pair.down) != std::end(kDownCodecs)) return pair;
  return absl::InvalidArgumentError(
      cat("[plan] --codecs: got ", text, ", want UP/DOWN with DOWN ", join(kDownCodecs, " or ")));
}

StatusOr<Recipe> with_workers(const Recipe& recipe, int64_t workers) {
  Recipe repeated = recipe;
  const size_t given = recipe.reals("fleet.seconds_per_step").size();
  for (const char* key : {"fleet.seconds_per_step", "fleet.down_bytes_per_s",
                          "fleet.up_bytes_per_s", "fleet.latency_s"}) {
    const std::vector<double>& one_each = recipe.reals(key);
    if (one_each.empty() || one_each.size() != given) continue;
    std::vector<double> more(static_cast<size_t>(workers));
    for (size_t i = 0; i < more.size(); ++i) more[i] = one_each[i % given];
    RUBATO_ASSIGN_OR_RETURN(repeated, repeated.with(key, more, "--workers"));
  }
  for (const char* key : {"fleet.join_s", "fleet.leave_s", "fleet.return_s"}) {
    RUBATO_ASSIGN_OR_RETURN(repeated, repeated.with(key, std::vector<double>{}, "--workers"));
  }
  return repeated;
}

StatusOr<ModelFacts> model_facts(const Recipe& recipe, std::optional<int64_t> num_params) {
  ModelFacts facts;
  if (num_params) {
    facts.num_params = *num_params;
  } else {
    RUBATO_ASSIGN_OR_RETURN(facts.num_params, params_of(recipe));
  }
  const std::string& kind = recipe.text(kModelKind);
  if (kind == kLanguageModel) facts.tokens_per_sequence = recipe.integer("train.sequence_length");
  if (kind == kOpaqueModel)
    facts.tokens_per_sequence = recipe.integer("opaque.tokens_per_sequence");
  // Which data a task has costs no time: one shard that does not end.
  facts.shard_sequences = {int64_t{1} << 50};
  return facts;
}

StatusOr<Plan> make_plan(const Recipe& recipe, const PlanGrid& grid, const PlanLimits& limits,
                         const ModelFacts& model) {
  Plan plan;
  plan.num_params = model.num_params;
  std::set<std::string> seen;
  Status first_error;
  for (const Cell& cell : cells_of(grid)) {
    RUBATO_ASSIGN_OR_RETURN(const std::optional<Recipe> own, recipe_of(recipe, cell));
    if (!own) continue;
    RUBATO_ASSIGN_OR_RETURN(SimulationConfig config, training_config(*own, 1));
    PlanRow row = row_of(*own, config);
    if (!seen.insert(row_name(row)).second) continue;
    plan.workers = std::ssize(config.stands_for.empty() ? config.fleet : config.stands_for);
    const StatusOr<TimingFigures> figures = timed(std::move(config), model);
    if (!figures.ok()) {
      first_error.Update(figures.status());
      plan.left_out.push_back(cat(row_name(row), ": ", std::string(figures.status().message())));
      continue;
    }
    row.figures = *figures;
    row.keeps_limits = keeps(row, limits);
    plan.ideal_tokens_per_s = figures->ideal_tokens_per_s;
    plan.rows.push_back(std::move(row));
  }
  if (plan.rows.empty()) return first_error;
  std::ranges::stable_sort(plan.rows, {}, &PlanRow::seconds_per_1b_tokens);
  RUBATO_RETURN_IF_ERROR(recommend(grid, limits, plan));
  return plan;
}

}  // namespace rubato
