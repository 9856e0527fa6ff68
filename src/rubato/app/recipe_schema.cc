#include "rubato/app/recipe_schema.h"

#include <algorithm>
#include <limits>

#include "rubato/base/one_line.h"
#include "rubato/lm/model_config.h"
#include "rubato/server/machine.h"

namespace rubato {
namespace {

constexpr int64_t kMany = 1'000'000'000'000;  // more steps or tokens than anybody trains for
// Deeper than any model that is trained; names and places of every tensor are made before the
// memory for them is asked for.
constexpr int64_t kMostLayers = 1024;
constexpr double kNever = std::numeric_limits<double>::infinity();

std::vector<std::string> preset_names() {
  const auto names = model_preset_names();
  return {names.begin(), names.end()};
}

RecipeSection run_section() {
  return {"run",
          "what the run is",
          {integer_option("seed", 1, 0, kLargestSeed, "1",
                          "initial parameters, order of the data and random draws follow from it")},
          "",
          ""};
}

RecipeSection model_section() {
  const auto shape = [](std::string name, std::string unit, std::string meaning,
                        int64_t largest = 1'000'000) {
    return optional(integer_option(std::move(name), 1, 1, largest, std::move(unit),
                                   cat(meaning, "; absent: the preset's")));
  };
  return {
      "model",
      "what is trained",
      {choice_option("kind", std::string(kLanguageModel),
                     {std::string(kLanguageModel), "toy", "quadratic", std::string(kOpaqueModel)},
                     "language model on text, the classifier of the published notebook, a "
                     "quadratic in closed form, or one that only the workers of a cluster "
                     "know"),
       choice_option("preset", "mini", preset_names(), "shape of the language model"),
       shape("layers", "layers", "depth", kMostLayers), shape("width", "floats", "residual stream"),
       shape("heads", "heads", "query heads"),
       shape("kv_heads", "heads", "key-value heads; divides heads"),
       shape("head_dim", "floats", "width of one head; even"),
       shape("ffn", "floats", "width of the feed-forward part"),
       optional(integer_option("vocab", 512, 259, 10'000'000, "pieces",
                               "the data must have as many; absent: what the data has")),
       optional(flag_option("tied", true, "the head is the embedding; absent: the preset's")),
       optional(
           real_option("rope_theta", 10000, 1, 1e12, "1", "base of RoPE's angles; absent: 10000")),
       optional(real_option("norm_eps", 1e-5, 1e-12, 1, "1", "in RMSNorm; absent: 1e-5")),
       optional(text_option("init", "",
                            "digest of the model that --init names; absent: parameters "
                            "are drawn"))},
      "",
      "",
      {"preset", "layers", "width", "heads", "kv_heads", "head_dim", "ffn", "vocab", "tied",
       "rope_theta", "norm_eps", "init"}};
}

RecipeSection toy_section() {
  return {"toy",
          "the classifier of the published notebook (asyncdiloco)",
          {integer_option("inputs", 512, 1, 1'000'000, "floats", "of one point"),
           integer_option("hidden", 65000, 1, 10'000'000, "units", "width of the only layer"),
           integer_option("points", 128000, 32, kMany, "points", "for training, over all shards"),
           integer_option("eval_points", 10000, 1, kMany, "points", "of an evaluation"),
           flag_option("evaluate_held_out", false, "false: on training points, as the authors do"),
           integer_option("shards", 4, 1, 4096, "shards", "iid parts of the points"),
           integer_option("data_seed", 42, 0, kMany, "1", "of the points")},
          std::string(kModelKind),
          "toy"};
}

RecipeSection quadratic_section() {
  return {"quadratic",
          "a loss in closed form, for tests in milliseconds",
          {integer_option("dim", 64, 2, 1'000'000'000, "floats", "parameters"),
           integer_option("shards", 4, 1, 4096, "shards", "each with a target of its own"),
           integer_option("sequences_per_shard", 1024, 1, kMany, "sequences", "of each shard"),
           real_option("noise", 0, 0, 1e6, "1", "deviation of one sequence's gradient"),
           real_option("shard_spread", 1, 0, 1e6, "1", "distance between the shards' targets"),
           real_option("condition", 10, 1, 1e9, "1", "largest curvature over the smallest"),
           integer_option("data_seed", 1, 0, kMany, "1", "of targets and noise")},
          std::string(kModelKind),
          "quadratic"};
}

RecipeSection opaque_section() {
  return {"opaque",
          "a model that workers in another language bring to a coordinator, with data of their own",
          {integer_option("shards", 4, 1, 4096, "shards", "parts of the workers' data"),
           integer_option("sequences_per_shard", 1024, 1, kMany, "sequences", "of each shard"),
           integer_option("tokens_per_sequence", 256, 1, 10'000'000, "tokens",
                          "that a worker counts for one sequence")},
          std::string(kModelKind),
          std::string(kOpaqueModel)};
}

RecipeSection data_section() {
  return {"data",
          "what it is trained on",
          {text_option("directory", "", "what `rubato prepare` wrote, from the working directory")},
          std::string(kModelKind),
          std::string(kLanguageModel)};
}

RecipeSection train_section() {
  return {
      "train",
      "the local work",
      {choice_option("mode", "local-sgd", {"local-sgd", "data-parallel", "pretrain-only"},
                     "local steps and an outer rule; every worker's gradient in every step; or "
                     "nothing after the pretraining"),
       integer_option("sequence_length", 256, 2, 65536, "tokens", "T, of one sequence"),
       integer_option("batch_sequences", 8, 1, 65536, "sequences", "of one local step"),
       integer_option("local_steps", 50, 1, 1'000'000, "local steps", "H of the fastest worker"),
       integer_option("budget_local_steps", 4000, 1, kMany, "local steps",
                      "of all workers together, after the pretraining; the rates end here"),
       real_option("extend", 1, 1, 10, "1",
                   "share of the budget at which training stops; beyond 1 at the smallest rate"),
       integer_option("lanes", 2, 1, 256, "lanes",
                      "fixed parts of a batch whose gradients are added in a fixed tree"),
       flag_option("recompute", false,
                   "make activations again in the backward pass: the same bits, a third more work, "
                   "much less memory with many layers"),
       choice_option("products", "fp32", {"fp32", "bf16"},
                     "of matrices in training steps; bf16: operands rounded to 8 significant bits, "
                     "sums, weights and the rest in fp32, for processors with AVX512_BF16 or AMX, "
                     "pays where products are most of a step: docs/engine.md (Kalamkar et al. "
                     "2019)"),
       integer_option("inner_rewarm_steps", 0, 0, kMany, "local steps",
                      "ramp of the rate for a worker that joins late or lost its inner state"),
       choice_option("inner_state", "keep", {"keep", "reset"},
                     "of the inner optimizer from one task of a worker to the next"),
       choice_option("overlap", "none", {"none", "upload", "full"},
                     "when a worker asks for its next task: when its delta is there, when its "
                     "local steps are done, or earlier by the time that receiving takes")},
      "",
      "",
      {"sequence_length", "lanes", "recompute", "products"}};
}

RecipeSection pretrain_section() {
  return {"pretrain",
          "plain training of one model before the workers start",
          {optional(integer_option("steps", 1, 1, kMany, "steps", "absent: no such phase")),
           optional(real_option("lr_max", 1e-3, 1e-12, 1e3, "1", "absent: as lr.max")),
           optional(real_option("lr_min", 1e-4, 1e-12, 1e3, "1", "absent: as lr.min")),
           optional(
               integer_option("warmup_steps", 0, 0, kMany, "steps", "absent: as lr.warmup_steps"))},
          "",
          ""};
}

RecipeSection lr_section() {
  return {"lr",
          "inner learning rate of each shard: warmup, then a cosine (Liu et al. 2024, eq. 3)",
          {real_option("max", 1e-3, 1e-12, 1e3, "1", "after the warmup"),
           real_option("min", 1e-4, 1e-12, 1e3, "1", "at the end of the budget; > 0"),
           integer_option("warmup_steps", 100, 0, kMany, "local steps", "of each shard"),
           choice_option("first_step", "schedule", {"schedule", "max"},
                         "rate of the first step of every task; max: as the authors' notebook, "
                         "whose new optimizers start at it before their schedule is asked")},
          "",
          ""};
}

RecipeSection fleet_section() {
  return {"fleet",
          "the workers; their number is the number of speeds",
          {reals_option("seconds_per_step", {0.58, 0.75, 1.51, 3.33}, 1e-6, 1e6, "s",
                        "virtual time of one local step, per worker"),
           reals_option("join_s", {}, 0, 1e9, "s",
                        "virtual time at which each worker appears; []: all at the start"),
           reals_option("leave_s", {}, 0, kNever, "s",
                        "virtual time at which each worker is lost, inf for never; []: all stay"),
           reals_option("return_s", {}, 0, kNever, "s",
                        "virtual time at which each lost worker is back with an empty inner state, "
                        "inf for never; []: nobody"),
           reals_option("down_bytes_per_s", {}, 1, kNever, "bytes/s",
                        "parameters to the workers: one number for all or one a worker; inf, or "
                        "[]: no time"),
           reals_option("up_bytes_per_s", {}, 1, kNever, "bytes/s",
                        "pseudo-gradients from the workers, likewise"),
           reals_option("latency_s", {}, 0, 1e6, "s",
                        "one way, of everything that travels, likewise; []: none")},
          "",
          ""};
}

RecipeSection door_section() {
  return {"door",
          "what a pseudo-gradient must pass before it is applied",
          {choice_option("norm_action", "clip", {"clip", "reject", "off"},
                         "on a norm that stands out: scale it down, refuse it, or do not look"),
           real_option("norm_multiple", 10, 1, 1e6, "1",
                       "of the median norm / sqrt(steps) of the last 64 accepted"),
           integer_option("norm_after", 16, 1, 1'000'000, "arrivals", "before anybody is judged")},
          "",
          ""};
}

RecipeSection codec_section() {
  return {"codec",
          "how pseudo-gradients and parameters travel between coordinator and workers; k-batch and "
          "the pretraining exchange floats as they are",
          {choice_option("down", "fp32", {std::begin(kDownCodecs), std::end(kDownCodecs)},
                         "how parameters travel: workers start from what they decode")},
          "",
          ""};
}

RecipeSection eval_section() {
  return {
      "eval",
      "validation",
      {integer_option("every_local_steps", 500, 1, kMany, "local steps", "of all workers together"),
       integer_option("sequences", 64, 1, kMany, "sequences",
                      "the fixed set: this many at most, spread over the validation text")},
      "",
      "",
      {"sequences"}};
}

RecipeSection checkpoint_section() {
  return {"checkpoint",
          "what is kept of a run",
          {optional(integer_option("every_local_steps", 1000, 1, kMany, "local steps",
                                   "absent: only at the end of the pretraining and of the "
                                   "run, and on an interrupt")),
           integer_option("keep_last", 2, 1, 1'000'000, "checkpoints", "the newest ones stay"),
           optional(integer_option(
               "keep_every_local_steps", 1, 1, kMany, "local steps",
               "the first one at or behind each multiple stays for good; absent: none"))},
          "",
          ""};
}

RecipeSection compare_section(const std::vector<std::string>& methods) {
  return {"compare",
          "rubato compare",
          {texts_option("methods",
                        {"pretrained", "k-batch", "sync-diloco", "async-nesterov", "dn-dylu"},
                        methods, "rows of the table"),
           real_option("extend", 1.15, 1, 10, "1",
                       "share of the budget up to which an asynchronous method is followed to find "
                       "the time it takes to reach the synchronous loss")},
          "",
          "",
          {},
          true};
}

RecipeSection tune_section() {
  return {"tune",
          "rubato tune",
          {reals_option("grid", {0.1, 0.2, 0.4, 0.7, 1.0}, 1e-9, 1e3, "1",
                        "outer steps that are tried for every method"),
           reals_option("factors", {0.5, 1.0, 2.0, 4.0}, 1e-9, 1e3, "1",
                        "factors of the rates that are tried for a method without an outer step")},
          "",
          "",
          {},
          true};
}

// The key that chooses among the entries of a kind, e.g. gate.kind.
OptionSpec selector_option(const CatalogueKind& kind) {
  std::vector<std::string> names;
  for (const Description& entry : kind.entries) names.push_back(entry.name);
  std::string name = kind.selector.substr(kind.section().size() + 1);
  if (!kind.many) return choice_option(name, kind.default_name, names, kind.meaning);
  std::vector<std::string> chosen;
  if (!kind.default_name.empty()) chosen.push_back(kind.default_name);
  return texts_option(name, chosen, names, kind.meaning);
}

}  // namespace

std::string_view section_of(std::string_view key) {
  const size_t point = key.rfind('.');
  return point == std::string_view::npos ? std::string_view() : key.substr(0, point);
}

std::shared_ptr<const RecipeSchema> RecipeSchema::make(std::span<const CatalogueKind> kinds) {
  auto schema = std::make_shared<RecipeSchema>();
  for (const CatalogueKind& kind : kinds) {
    if (kind.name != "method") continue;
    for (const Description& entry : kind.entries) schema->methods_.push_back(entry.name);
  }
  std::vector<RecipeSection>& sections = schema->sections_;
  sections = {run_section(),       model_section(),      toy_section(),
              quadratic_section(), opaque_section(),     data_section(),
              train_section(),     pretrain_section(),   lr_section(),
              fleet_section(),     door_section(),       codec_section(),
              eval_section(),      checkpoint_section(), compare_section(schema->methods_),
              tune_section()};
  for (const CatalogueKind& kind : kinds) {
    auto section = std::ranges::find(sections, kind.section(), &RecipeSection::name);
    if (section == sections.end()) {
      section = sections.insert(sections.end(), {kind.section(), kind.meaning, {}, "", ""});
    }
    section->options.push_back(selector_option(kind));
  }
  for (const CatalogueKind& kind : kinds) {
    for (const Description& entry : kind.entries) {
      if (entry.options.empty()) continue;
      sections.push_back({cat(kind.section(), ".", entry.name), entry.summary, entry.options,
                          kind.selector, entry.name});
    }
  }
  for (const RecipeSection& section : sections) {
    for (OptionSpec spec : section.options) {
      spec.name = cat(section.name, ".", spec.name);
      schema->specs_.emplace(spec.name, spec);
    }
  }
  return schema;
}

const OptionSpec* RecipeSchema::find(std::string_view key) const {
  const auto it = specs_.find(key);
  return it == specs_.end() ? nullptr : &it->second;
}

std::string RecipeSchema::unknown_key(std::string_view key) const {
  const std::string_view section = section_of(key);
  const auto name_of = [](std::string_view dotted) {
    const std::string_view prefix = section_of(dotted);
    return std::string(prefix.empty() ? dotted : dotted.substr(prefix.size() + 1));
  };
  std::vector<std::string> all, here, elsewhere, section_names;
  for (const auto& [known, spec] : specs_) {
    all.push_back(known);
    if (section_of(known) == section) here.push_back(name_of(known));
    if (name_of(known) == name_of(key)) elsewhere.push_back(known);
  }
  for (const RecipeSection& known : sections_) section_names.push_back(known.name);

  // A slip in the name, then the wrong section, then a slip in the section.
  std::vector<std::string> guesses = nearest_names(name_of(key), here);
  for (std::string& guess : guesses) guess = cat(section, ".", guess);
  if (guesses.empty()) guesses = elsewhere;
  if (guesses.empty()) guesses = nearest_names(key, all);
  std::string hint;
  if (!guesses.empty()) {
    hint = cat("did you mean ", join(guesses, ", "), "?");
  } else if (!here.empty()) {
    hint = cat("known in [", section, "]: ", join(here, ", "));
  } else {
    hint = cat("known sections: ", join(section_names, ", "));
  }
  return cat("unknown key ", shortened(key), " (", hint, ")");
}

}  // namespace rubato
