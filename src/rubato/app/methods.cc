#include "rubato/app/methods.h"

#include <algorithm>

namespace rubato {
namespace {

using Overrides = std::vector<std::pair<std::string, OptionValue>>;

constexpr const char* kPaper = "Liu et al. 2024, arXiv:2401.09135";
constexpr const char* kHeloco = "arXiv:2606.00271";
constexpr const char* kDecoupled = "Decoupled DiLoCo, arXiv:2604.21428";

Method* make(std::string name, std::string summary, std::string source, Overrides overrides,
             std::string tuned_key, std::vector<std::string> tuned_along = {}) {
  auto* method = new Method;
  method->name = std::move(name);
  method->summary = std::move(summary);
  method->source = std::move(source);
  method->overrides = std::move(overrides);
  method->tuned_key = std::move(tuned_key);
  method->tuned_along = std::move(tuned_along);
  return method;
}

// Grace gate, fixed steps: links in front of a rule at every arrival.
Overrides async(std::vector<std::string> links, std::string rule, std::string policy = "fixed") {
  return {{"train.mode", std::string("local-sgd")},
          {"gate.kind", std::string("grace")},
          {"policy.kind", std::move(policy)},
          {"outer.links", std::move(links)},
          {"outer.rule", std::move(rule)}};
}

Overrides with(Overrides base, const Overrides& more) {
  base.insert(base.end(), more.begin(), more.end());
  return base;
}

// Momentum look-ahead at every arrival, workers dispatched from ahead of the model or from it.
Overrides look_ahead(std::vector<std::string> links, std::string dispatch) {
  return with(async(std::move(links), "mla"), {{"outer.mla.dispatch", std::move(dispatch)}});
}

Overrides heloco(std::string variant) {
  return with(look_ahead({"heloco", "weight"}, "look_ahead"),
              {{"outer.heloco.variant", std::move(variant)}});
}

// Half of the fleet makes a group, weighted by tokens, and Nesterov takes what becomes of it.
Overrides quorum(std::vector<std::string> links) {
  return {{"train.mode", std::string("local-sgd")},
          {"train.overlap", std::string("none")},  // a group's members wait for it
          {"gate.kind", std::string("quorum")},
          {"policy.kind", std::string("fixed")},
          {"outer.links", std::move(links)},
          {"outer.rule", std::string("nesterov")}};
}

Overrides sync(std::string rule) {
  return {{"train.mode", std::string("local-sgd")},
          {"train.overlap", std::string("none")},  // a round has nothing to overlap with
          {"gate.kind", std::string("barrier")},
          {"policy.kind", std::string("fixed")},
          {"outer.links", std::vector<std::string>{}},
          {"outer.rule", std::move(rule)}};
}

// What the paper compares.
std::vector<const Method*> paper_methods() {
  return {
      make(std::string(kCustomMethod), "the recipe's own gate, policy, links and rule", "", {}, ""),
      make("pretrained", "no workers: what the pretraining alone reaches", kPaper,
           {{"train.mode", std::string("pretrain-only")}}, ""),
      make("k-batch", "every step uses every worker's gradient and waits for the slowest", kPaper,
           {{"train.mode", std::string("data-parallel")}}, "lr.max", {"lr.min"}),
      make("sync-diloco",
           "rounds: everybody waits, Nesterov on the mean; shards by the recipe's sampler, "
           "own_shard gives each worker one for good as DiLoCo does",
           cat(kPaper, ", Alg. 1; Douillard et al. 2023, arXiv:2311.08105, Alg. 1"),
           sync("nesterov"), "outer.nesterov.lr"),
      make("async-sgd", "plain SGD at every arrival", kPaper, async({"weight"}, "sgd"),
           "outer.sgd.lr"),
      make("async-momentum", "heavy-ball momentum at every arrival", kPaper,
           async({"weight"}, "momentum"), "outer.momentum.lr"),
      make("async-nesterov", "Nesterov momentum at every arrival", kPaper,
           async({"weight"}, "nesterov"), "outer.nesterov.lr"),
      make("async-adam", "Adam at every arrival", kPaper, async({"weight"}, "adam"),
           "outer.adam.lr"),
      make("async-polynomial", "async-nesterov, stale arrivals count less",
           cat(kPaper, "; arXiv:1903.03934"), async({"weight", "polynomial_discount"}, "nesterov"),
           "outer.nesterov.lr"),
      make("async-threshold", "async-polynomial, arrivals too stale are discarded", kPaper,
           async({"weight", "polynomial_discount", "threshold"}, "nesterov"), "outer.nesterov.lr"),
      make("async-delay-compensation",
           "async-nesterov with a second-order correction for staleness",
           cat(kPaper, "; arXiv:1609.08326"), async({"delay_compensation", "weight"}, "nesterov"),
           "outer.nesterov.lr"),
      make("fedbuff", "collects N arrivals, then one Nesterov step on their mean",
           "arXiv:2106.06639", async({"buffer"}, "nesterov"), "outer.nesterov.lr"),
      make("dn", "delayed Nesterov: momentum moves at every N-th arrival only",
           cat(kPaper, ", Alg. 3"), async({}, "delayed_nesterov"), "outer.delayed_nesterov.lr"),
      make("dylu", "async-nesterov with dynamic local updates", cat(kPaper, ", eq. 6"),
           async({"weight"}, "nesterov", "dylu"), "outer.nesterov.lr"),
      make("dn-dylu", "delayed Nesterov with dynamic local updates", cat(kPaper, ", Alg. 3 and 4"),
           async({}, "delayed_nesterov", "dylu"), "outer.delayed_nesterov.lr"),
  };
}

// What was published since, and claims to do better.
std::vector<const Method*> successor_methods() {
  return {
      make("mla", "momentum look-ahead, workers start ahead of the model", "Ajanthan et al. 2025",
           look_ahead({"weight"}, "look_ahead"), "outer.mla.lr"),
      make("mla-theta", "momentum look-ahead, workers start from the model", "Ajanthan et al. 2025",
           look_ahead({"weight"}, "theta"), "outer.mla.lr"),
      make("heloco", "mla, deltas that disagree with the momentum are turned towards it", kHeloco,
           heloco("formula"), "outer.mla.lr"),
      make("heloco-script", "heloco, the turn as in the authors' script", cat(kHeloco, ", script"),
           heloco("script"), "outer.mla.lr"),
      make("cgad",
           "age-aware Adam: async-adam, arrivals count less with age and in the end nothing",
           "arXiv:2605.09126", async({"weight", "age_gate"}, "adam"), "outer.adam.lr"),
      make("dn-dylu-tokens", "dn-dylu, arrivals count by their tokens",
           cat(kPaper, "; arXiv:1602.05629"), async({"token_weight"}, "delayed_nesterov", "dylu"),
           "outer.delayed_nesterov.lr"),
      make("quorum", "Nesterov on the token-weighted mean of the first K of M deltas", kDecoupled,
           quorum({}), "outer.nesterov.lr"),
      make("quorum-rda", "quorum, merged by mean length and mean direction", kDecoupled,
           quorum({"radial_directional"}), "outer.nesterov.lr"),
      make(
          "sparse-loco",
          "rounds of plain SGD on the largest values of each delta, what is left out goes with the "
          "next (top-k with error feedback, without its decay)",
          "arXiv:2508.15706", with(sync("sgd"), {{"codec.up", std::string("top_k")}}),
          "outer.sgd.lr"),
  };
}

std::vector<const Method*> make_methods() {
  std::vector<const Method*> methods = paper_methods();
  for (const Method* method : successor_methods()) methods.push_back(method);
  return methods;
}

// Rates of the pretraining that the recipe leaves to lr.*, written out.
StatusOr<Recipe> with_pretraining_rates(const Recipe& base) {
  Recipe recipe = base;
  if (!base.has("pretrain.steps")) return recipe;
  if (!base.has("pretrain.lr_max")) {
    RUBATO_ASSIGN_OR_RETURN(recipe, recipe.with("pretrain.lr_max", base.real("lr.max"), "lr.max"));
  }
  if (!base.has("pretrain.lr_min")) {
    RUBATO_ASSIGN_OR_RETURN(recipe, recipe.with("pretrain.lr_min", base.real("lr.min"), "lr.min"));
  }
  if (!base.has("pretrain.warmup_steps")) {
    RUBATO_ASSIGN_OR_RETURN(
        recipe,
        recipe.with("pretrain.warmup_steps", base.integer("lr.warmup_steps"), "lr.warmup_steps"));
  }
  return recipe;
}

}  // namespace

std::vector<std::pair<std::string, double>> Method::tuned_values(const Recipe& base,
                                                                 double value) const {
  if (!tuned_by_factor()) return {{tuned_key, value}};
  std::vector<std::pair<std::string, double>> values = {{tuned_key, value * base.real(tuned_key)}};
  for (const std::string& key : tuned_along) values.emplace_back(key, value * base.real(key));
  return values;
}

std::span<const Method* const> all_methods() {
  static const auto* const kMethods = new std::vector<const Method*>(make_methods());
  return *kMethods;
}

StatusOr<const Method*> find_method(std::string_view name) {
  return find_entry("method", "method", all_methods(), name);
}

StatusOr<Recipe> recipe_for_method(const Recipe& base, std::string_view name) {
  RUBATO_ASSIGN_OR_RETURN(const Method* method, find_method(name));
  const bool own = base.text("run.method") == name;
  RUBATO_ASSIGN_OR_RETURN(Recipe recipe, with_pretraining_rates(base));
  for (const auto& [key, value] : method->overrides) {
    const std::string where = base.where(key);
    const bool binding = where == "--set" || (own && where != "default");
    RUBATO_ASSIGN_OR_RETURN(Recipe overridden, recipe.with(key, value, cat("method ", name)));
    if (binding && recipe.resolved().at(key) != overridden.resolved().at(key)) {
      return base.error(
          key,
          cat("got ", to_text(recipe.resolved().at(key)), ", want ", to_text(value), " as method ",
              name, " has it; leave it out, or say run.method = \"", kCustomMethod, "\""));
    }
    recipe = std::move(overridden);
  }
  for (const auto& [key, value] : base.overlay(name)) {
    if (base.where(key) == "--set") continue;
    RUBATO_ASSIGN_OR_RETURN(recipe, recipe.with(key, value, cat("methods.", name)));
  }
  RUBATO_ASSIGN_OR_RETURN(recipe,
                          recipe.with("run.method", std::string(name), cat("method ", name)));
  return recipe.narrowed();
}

Status check_sets_have_effect(const Recipe& base, std::span<const Recipe> recipes,
                              std::initializer_list<std::string_view> read_by_command) {
  for (const auto& [key, value] : base.resolved()) {
    if (base.where(key) != "--set") continue;
    const auto in_force = [&key = key](const Recipe& r) { return r.resolved().contains(key); };
    if (std::ranges::any_of(recipes, in_force)) continue;
    if (std::ranges::find(read_by_command, key) != read_by_command.end()) continue;
    if (base.of_many_runs(key)) {
      return base.error(key, "got a key that this command does not read, want one that it does");
    }
    std::vector<std::string> methods;
    for (const Recipe& recipe : recipes) methods.push_back(recipe.text("run.method"));
    return base.error(key, cat("got a key without effect under ", join(methods, ", "), " of a ",
                               base.text(kModelKind), ", want one in force; outer.rule is ",
                               to_text(recipes.front().resolved().at("outer.rule"))));
  }
  return absl::OkStatus();
}

Status check_not_set(const Recipe& base, std::string_view key, std::string_view flag) {
  if (base.where(key) != "--set") return absl::OkStatus();
  return base.error(key, cat("got a value that ", flag, " decides, want it from there alone"));
}

}  // namespace rubato
