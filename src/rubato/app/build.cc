#include "rubato/app/build.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "rubato/base/digest.h"
#include "rubato/lm/arena.h"
#include "rubato/lm/lm_workload.h"
#include "rubato/lm/toy_classifier.h"
#include "rubato/trainer/opaque_workload.h"
#include "rubato/trainer/quadratic.h"

namespace rubato {
namespace {

StatusOr<std::shared_ptr<const InnerOptimizer>> build_inner(const Recipe& recipe) {
  const std::string& kind = recipe.text("inner.kind");
  RUBATO_ASSIGN_OR_RETURN(const InnerEntry* entry,
                          find_entry("recipe", "inner optimizer", inner_entries(), kind));
  const std::string section = cat("inner.", kind);
  RUBATO_ASSIGN_OR_RETURN(const Options options,
                          Options::resolve(section, entry->options, recipe.section(section)));
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<InnerOptimizer> optimizer, entry->make(options));
  return std::shared_ptr<const InnerOptimizer>(std::move(optimizer));
}

// Generated data is identified by what it is generated from.
std::string generated_digest(const Recipe& recipe, const std::string& section) {
  std::string text = cat(section, "\n");
  for (const auto& [name, value] : recipe.section(section)) {
    text += cat(name, " = ", to_text(value), "\n");
  }
  return digest_of(text);
}

Products products_of(const Recipe& recipe) {
  return recipe.text("train.products") == "bf16" ? Products::kBf16 : Products::kFp32;
}

StatusOr<BuiltWorkload> build_language_model(const Recipe& recipe) {
  const std::string& directory = recipe.text("data.directory");
  if (directory.empty()) {
    return recipe.error("data.directory", "got nothing, want what `rubato prepare` wrote");
  }
  RUBATO_ASSIGN_OR_RETURN(auto optimizer, build_inner(recipe));
  RUBATO_ASSIGN_OR_RETURN(std::shared_ptr<const TokenDataset> dataset,
                          TokenDataset::open(directory));
  RUBATO_ASSIGN_OR_RETURN(const ModelConfig config, build_model(recipe, dataset->vocab_size()));
  LmWorkloadOptions options{.sequence_length = recipe.integer("train.sequence_length"),
                            .lanes = static_cast<int>(recipe.integer("train.lanes")),
                            .recompute = recipe.flag("train.recompute"),
                            .products = products_of(recipe),
                            .validation_sequences = recipe.integer("eval.sequences"),
                            .optimizer = std::move(optimizer)};
  RUBATO_ASSIGN_OR_RETURN(auto workload, LmWorkload::make(config, dataset, std::move(options)));
  return BuiltWorkload{std::move(workload), dataset->digest()};
}

StatusOr<BuiltWorkload> build_toy(const Recipe& recipe, int threads) {
  RUBATO_ASSIGN_OR_RETURN(auto optimizer, build_inner(recipe));
  ToyOptions options;
  options.data.inputs = recipe.integer("toy.inputs");
  options.data.points = recipe.integer("toy.points");
  options.data.eval_points = recipe.integer("toy.eval_points");
  options.data.evaluate_held_out = recipe.flag("toy.evaluate_held_out");
  options.data.seed = static_cast<uint64_t>(recipe.integer("toy.data_seed"));
  options.hidden = recipe.integer("toy.hidden");
  options.shards = recipe.integer("toy.shards");
  RUBATO_ASSIGN_OR_RETURN(auto workload, ToyWorkload::make(options, std::move(optimizer), threads));
  return BuiltWorkload{std::move(workload), generated_digest(recipe, "toy")};
}

StatusOr<BuiltWorkload> build_quadratic(const Recipe& recipe) {
  RUBATO_ASSIGN_OR_RETURN(auto optimizer, build_inner(recipe));
  QuadraticOptions options;
  options.dim = recipe.integer("quadratic.dim");
  options.shards = recipe.integer("quadratic.shards");
  options.sequences_per_shard = recipe.integer("quadratic.sequences_per_shard");
  options.noise = recipe.real("quadratic.noise");
  options.shard_spread = recipe.real("quadratic.shard_spread");
  options.condition = recipe.real("quadratic.condition");
  options.seed = static_cast<uint64_t>(recipe.integer("quadratic.data_seed"));
  // Targets of every shard, their mean, the curvature and two buffers of work.
  const int64_t doubles = options.dim * (options.shards + 4);
  RUBATO_RETURN_IF_ERROR(
      annotate(check_memory(doubles * static_cast<int64_t>(sizeof(double))), "quadratic.dim"));
  RUBATO_ASSIGN_OR_RETURN(auto workload, QuadraticWorkload::make(options, std::move(optimizer)));
  return BuiltWorkload{std::move(workload), generated_digest(recipe, "quadratic")};
}

// What `key` chooses, e.g. gate.kind, with the options of its section.
Choice choice(const Recipe& recipe, const std::string& key) {
  const std::string& name = recipe.text(key);
  return {name, recipe.section(cat(section_of(key), ".", name))};
}

constexpr double kLongestTimeS = 1e9;  // thirty years

// A list of the fleet, or nothing when it is empty.
StatusOr<std::vector<double>> fleet_times(const Recipe& recipe, const std::string& key) {
  const std::vector<double>& times = recipe.reals(key);
  const size_t workers = recipe.reals("fleet.seconds_per_step").size();
  for (const double time : times) {
    // Beyond this sums of times leave the clock's range.
    if (std::isinf(time) || time <= kLongestTimeS) continue;
    return recipe.error(
        key, cat("got ", time, " s, want at most ", kLongestTimeS, " s, or inf for never"));
  }
  if (times.empty() || times.size() == workers) return times;
  return recipe.error(
      key, cat("got ", times.size(), " times for ", workers, " workers, want one a worker or []"));
}

// A list of the fleet that may have one number for all, or none: then `otherwise` for all.
StatusOr<std::vector<double>> link_values(const Recipe& recipe, const std::string& key,
                                          double otherwise) {
  const std::vector<double>& values = recipe.reals(key);
  const size_t workers = recipe.reals("fleet.seconds_per_step").size();
  if (values.size() == workers) return values;
  if (values.size() <= 1)
    return std::vector<double>(workers, values.empty() ? otherwise : values[0]);
  return recipe.error(key, cat("got ", values.size(), " numbers for ", workers,
                               " workers, want one a worker, one for all or []"));
}

Status build_links(const Recipe& recipe, std::vector<SimWorker>& fleet) {
  constexpr double kInstant = std::numeric_limits<double>::infinity();
  RUBATO_ASSIGN_OR_RETURN(const auto down, link_values(recipe, "fleet.down_bytes_per_s", kInstant));
  RUBATO_ASSIGN_OR_RETURN(const auto up, link_values(recipe, "fleet.up_bytes_per_s", kInstant));
  RUBATO_ASSIGN_OR_RETURN(const auto latency, link_values(recipe, "fleet.latency_s", 0));
  // Beyond this a double has no whole bytes, and no link such a rate.
  constexpr double kFastest = 1e15;
  const auto rate = [](double bytes_per_s) -> std::optional<int64_t> {
    if (bytes_per_s > kFastest) return std::nullopt;
    return std::llround(bytes_per_s);
  };
  for (size_t i = 0; i < fleet.size(); ++i) {
    fleet[i].link = {rate(down[i]), rate(up[i]), from_seconds(latency[i])};
  }
  return absl::OkStatus();
}

StatusOr<std::vector<SimWorker>> build_fleet(const Recipe& recipe) {
  const std::vector<double>& speeds = recipe.reals("fleet.seconds_per_step");
  if (speeds.empty()) {
    return recipe.error("fleet.seconds_per_step", "got no workers, want one number a worker");
  }
  RUBATO_ASSIGN_OR_RETURN(const auto joins, fleet_times(recipe, "fleet.join_s"));
  RUBATO_ASSIGN_OR_RETURN(const auto leaves, fleet_times(recipe, "fleet.leave_s"));
  RUBATO_ASSIGN_OR_RETURN(const auto returns, fleet_times(recipe, "fleet.return_s"));
  std::vector<SimWorker> fleet(speeds.size());
  for (size_t i = 0; i < speeds.size(); ++i) {
    SimWorker& worker = fleet[i];
    worker.ns_per_step = from_seconds(speeds[i]);
    if (!joins.empty()) worker.join_at = from_seconds(joins[i]);
    if (!leaves.empty() && std::isfinite(leaves[i])) worker.leave_at = from_seconds(leaves[i]);
    if (!returns.empty() && std::isfinite(returns[i])) worker.return_at = from_seconds(returns[i]);
    if (worker.leave_at && *worker.leave_at <= worker.join_at) {
      return recipe.error("fleet.leave_s", cat("got ", leaves[i], " s for worker ", i,
                                               ", want later than it joins"));
    }
    if (worker.return_at && (!worker.leave_at || *worker.return_at <= *worker.leave_at)) {
      return recipe.error("fleet.return_s", cat("got ", returns[i], " s for worker ", i,
                                                ", want later than it leaves"));
    }
  }
  RUBATO_RETURN_IF_ERROR(build_links(recipe, fleet));
  return fleet;
}

// k x batch has no workers that come and go: every step is everybody's.
Status check_nobody_leaves(const Recipe& recipe) {
  for (const char* key : {"fleet.join_s", "fleet.leave_s", "fleet.return_s"}) {
    if (recipe.reals(key).empty()) continue;
    return recipe.error(key,
                        "got times in data-parallel mode (k-batch), want []; its workers do "
                        "every step together, so leave k-batch out, or the list");
  }
  return absl::OkStatus();
}

Overlap build_overlap(const Recipe& recipe) {
  const std::string& overlap = recipe.text("train.overlap");
  return overlap == "upload" ? Overlap::kUpload
         : overlap == "full" ? Overlap::kFull
                             : Overlap::kNone;
}

DoorConfig build_door(const Recipe& recipe) {
  const std::string& action = recipe.text("door.norm_action");
  return {.norm_action = action == "clip"     ? NormAction::kClip
                         : action == "reject" ? NormAction::kReject
                                              : NormAction::kOff,
          .norm_multiple = recipe.real("door.norm_multiple"),
          .norm_after = recipe.integer("door.norm_after")};
}

// What both phases have in common.
SimulationConfig common_config(const Recipe& recipe, int threads) {
  SimulationConfig config;
  config.method = recipe.text("run.method");
  config.coordinator.seed = static_cast<uint64_t>(recipe.integer("run.seed"));
  config.coordinator.local_steps = recipe.integer("train.local_steps");
  config.worker.batch_sequences = recipe.integer("train.batch_sequences");
  config.eval_every_steps = recipe.integer("eval.every_local_steps");
  if (recipe.has("checkpoint.every_local_steps")) {
    config.coordinator.save_every_steps = recipe.integer("checkpoint.every_local_steps");
  }
  config.threads = threads;
  return config;
}

// One worker over all data that applies what it has trained as it is: ordinary training.
void make_ordinary(SimulationConfig& config) {
  config.chain = {.links = {}, .rule = "sgd", .options = {{"sgd", {{"lr", 1.0}}}}};
  config.gate = {"free", {}};
  config.policy = {"fixed", {}};
  config.sampler = {"own_shard", {}};
  config.coordinator.door.norm_action = NormAction::kOff;
  config.merged_data = true;
}

Status check_rates(const Recipe& recipe, std::string_view min_key, std::string_view max_key,
                   const LearningRate& rate) {
  if (rate.min <= rate.max) return absl::OkStatus();
  return recipe.error(min_key, cat("got ", rate.min, ", want at most ", max_key, " = ", rate.max));
}

int64_t extended(int64_t budget, double share) {
  return static_cast<int64_t>(std::llround(static_cast<double>(budget) * share));
}

}  // namespace

StatusOr<ModelConfig> build_model(const Recipe& recipe, int64_t data_vocab) {
  const int64_t vocab = recipe.has("model.vocab") ? recipe.integer("model.vocab") : data_vocab;
  RUBATO_ASSIGN_OR_RETURN(ModelConfig config, model_preset(recipe.text("model.preset"), vocab));
  const auto shape = [&](std::string_view key, int64_t& value) {
    if (recipe.has(key)) value = recipe.integer(key);
  };
  shape("model.layers", config.layers);
  shape("model.width", config.width);
  shape("model.heads", config.heads);
  shape("model.kv_heads", config.kv_heads);
  shape("model.head_dim", config.head_dim);
  shape("model.ffn", config.ffn);
  if (recipe.has("model.tied")) config.tied = recipe.flag("model.tied");
  if (recipe.has("model.rope_theta")) config.rope_theta = recipe.real("model.rope_theta");
  if (recipe.has("model.norm_eps")) config.norm_eps = recipe.real("model.norm_eps");
  return config;
}

StatusOr<BuiltWorkload> build_workload(const Recipe& recipe, int threads) {
  const std::string& kind = recipe.text("model.kind");
  if (kind == "toy") return build_toy(recipe, threads);
  if (kind == "quadratic") return build_quadratic(recipe);
  if (kind == kOpaqueModel) {
    return recipe.error(
        std::string(kModelKind),
        "got opaque, want a model of this program; rubato coordinator drives such a "
        "run, and programs of its own make its workers (docs/workers.md)");
  }
  return build_language_model(recipe);
}

StatusOr<BuiltWorkload> build_opaque(const Recipe& recipe, Layout layout) {
  if (recipe.has("pretrain.steps"))
    return recipe.error("pretrain.steps", "got a pretraining of an opaque model, want none");
  RUBATO_ASSIGN_OR_RETURN(auto optimizer, build_inner(recipe));
  const OpaqueOptions options{.shards = recipe.integer("opaque.shards"),
                              .sequences_per_shard = recipe.integer("opaque.sequences_per_shard"),
                              .tokens_per_sequence = recipe.integer("opaque.tokens_per_sequence")};
  return BuiltWorkload{
      std::make_unique<OpaqueWorkload>(options, std::move(layout), std::move(optimizer)),
      generated_digest(recipe, "opaque")};
}

ChainSpec chain_spec(const Recipe& recipe) {
  ChainSpec spec{recipe.texts("outer.links"), recipe.text("outer.rule"), {}};
  for (const std::string& link : spec.links) {
    spec.options[link] = recipe.section(cat("outer.", link));
  }
  spec.options[spec.rule] = recipe.section(cat("outer.", spec.rule));
  return spec;
}

StatusOr<SimulationConfig> pretraining_config(const Recipe& recipe, int threads) {
  SimulationConfig config = common_config(recipe, threads);
  make_ordinary(config);
  config.phase = RunPhase::kPretrain;
  const auto rate = [&](std::string_view own, std::string_view other) {
    return recipe.real(recipe.has(own) ? own : other);
  };
  config.worker.learning_rate = {
      .max = rate("pretrain.lr_max", "lr.max"),
      .min = rate("pretrain.lr_min", "lr.min"),
      .warmup_steps = recipe.integer(recipe.has("pretrain.warmup_steps") ? "pretrain.warmup_steps"
                                                                         : "lr.warmup_steps")};
  // A rate that was written out from lr.* is blamed on the key that somebody gave.
  const auto given_by = [&](std::string_view own, std::string_view other) {
    return recipe.has(own) && recipe.where(own) != other ? own : other;
  };
  RUBATO_RETURN_IF_ERROR(check_rates(recipe, given_by("pretrain.lr_min", "lr.min"),
                                     given_by("pretrain.lr_max", "lr.max"),
                                     config.worker.learning_rate));
  config.coordinator.budget_steps = recipe.integer("pretrain.steps");
  config.coordinator.schedule_steps = config.coordinator.budget_steps;
  const std::vector<double>& speeds = recipe.reals("fleet.seconds_per_step");
  if (speeds.empty()) {
    return recipe.error("fleet.seconds_per_step", "got no workers, want one number a worker");
  }
  config.fleet = {{.ns_per_step = from_seconds(std::ranges::min(speeds))}};
  return config;
}

Status check_processor(const Recipe& recipe) { return check_products(products_of(recipe)); }

StatusOr<SimulationConfig> training_config(const Recipe& recipe, int threads) {
  const bool data_parallel = recipe.text("train.mode") == "data-parallel";
  if (data_parallel) RUBATO_RETURN_IF_ERROR(check_nobody_leaves(recipe));
  SimulationConfig config = common_config(recipe, threads);
  RUBATO_ASSIGN_OR_RETURN(config.fleet, build_fleet(recipe));
  const auto workers = static_cast<int64_t>(config.fleet.size());
  config.num_workers = workers;
  config.worker.learning_rate = {.max = recipe.real("lr.max"),
                                 .min = recipe.real("lr.min"),
                                 .warmup_steps = recipe.integer("lr.warmup_steps")};
  RUBATO_RETURN_IF_ERROR(check_rates(recipe, "lr.min", "lr.max", config.worker.learning_rate));
  const int64_t budget = recipe.integer("train.budget_local_steps");
  config.eval_at_steps = budget;
  CoordinatorConfig& coordinator = config.coordinator;
  coordinator.schedule_steps = budget;
  coordinator.budget_steps = extended(budget, recipe.real("train.extend"));
  if (data_parallel) {
    make_ordinary(config);
    config.worker.batch_sequences *= workers;
    // The one worker's steps count for all of them.
    coordinator.schedule_steps = (coordinator.schedule_steps + workers - 1) / workers;
    coordinator.budget_steps = (coordinator.budget_steps + workers - 1) / workers;
    if (coordinator.save_every_steps) {
      coordinator.save_every_steps = std::max<int64_t>(*coordinator.save_every_steps / workers, 1);
    }
    config.stands_for = std::exchange(config.fleet, {});
    const SimWorker& slowest = std::ranges::max(config.stands_for, {}, &SimWorker::ns_per_step);
    config.fleet = {{.ns_per_step = slowest.ns_per_step}};
    return config;
  }
  config.chain = chain_spec(recipe);
  config.gate = choice(recipe, "gate.kind");
  config.policy = choice(recipe, "policy.kind");
  config.sampler = choice(recipe, "sampler.kind");
  config.up_codec = choice(recipe, "codec.up");
  config.down_codec = {recipe.text("codec.down"), {}};
  config.worker.reset_inner = recipe.text("train.inner_state") == "reset";
  config.worker.first_step_at_max = recipe.text("lr.first_step") == "max";
  config.worker.inner_rewarm_steps = recipe.integer("train.inner_rewarm_steps");
  coordinator.door = build_door(recipe);
  coordinator.overlap = build_overlap(recipe);
  return config;
}

std::string pretraining_key(const Recipe& recipe) {
  // Not lr.*: recipe_for_method writes the pretraining's rates out.
  constexpr std::array<std::string_view, 11> kPrefixes = {
      "run.seed", "model.", "toy.",        "quadratic.",  "data.",      "pretrain.",
      "inner.",   "eval.",  "checkpoint.", "train.local", "train.batch"};
  constexpr std::array<std::string_view, 3> kMore = {"train.sequence_length", "train.lanes",
                                                     "train.products"};
  std::string text;
  for (const auto& [key, value] : recipe.resolved()) {
    const auto starts = [&key = key](std::string_view prefix) { return key.starts_with(prefix); };
    if (std::ranges::any_of(kPrefixes, starts) || std::ranges::any_of(kMore, starts)) {
      text += cat(key, " = ", to_text(value), "\n");
    }
  }
  return text;
}

}  // namespace rubato
