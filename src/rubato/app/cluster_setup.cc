#include "rubato/app/cluster_setup.h"

#include "rubato/app/memory.h"
#include "rubato/base/digest.h"
#include "rubato/rpc/model_file.h"
#include "rubato/rpc/wire.h"
#include "rubato/text/manifest.h"

namespace rubato {
namespace {

constexpr std::string_view kDataDirectory = "data.directory";

// What a worker needs of prepared text.
StatusOr<std::vector<v1::RunFile>> run_files(FileSystem& files, const std::string& directory) {
  const std::string path = join_path(directory, kManifestFile);
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  RUBATO_ASSIGN_OR_RETURN(const TextManifest manifest, parse_text_manifest(path, text));
  std::vector<std::string> names = {std::string(kTokenizerFile), manifest.validation.file};
  for (const ShardEntry& shard : manifest.shards) names.push_back(shard.file);
  names.push_back(std::string(kManifestFile));  // last, as prepare writes it
  std::vector<v1::RunFile> listed;
  for (const std::string& name : names) {
    if (name.empty()) continue;
    RUBATO_ASSIGN_OR_RETURN(const FileView view, files.map(join_path(directory, name)));
    v1::RunFile& file = listed.emplace_back();
    file.set_name(name);
    file.set_bytes(static_cast<int64_t>(view.bytes.size()));
    file.set_digest(digest_of(view.bytes));
  }
  return listed;
}

}  // namespace

std::string cluster_recipe_digest(const Recipe& recipe) {
  // Where the text lies is each machine's own business; what is in it has a digest of its own.
  std::string text;
  for (const auto& [key, value] : recipe.resolved()) {
    if (key != kDataDirectory) text += cat(key, " = ", to_text(value), "\n");
  }
  return digest_of(std::string_view(text));
}

StatusOr<BuiltWorkload> build_for_run(const Recipe& recipe, const std::string& directory,
                                      FileSystem& files, int threads) {
  if (recipe.text(kModelKind) != kOpaqueModel) return build_workload(recipe, threads);
  RUBATO_ASSIGN_OR_RETURN(std::optional<Layout> layout, read_model_layout(files, directory));
  if (layout) return build_opaque(recipe, std::move(*layout));
  return absl::NotFoundError(
      cat("[model] ", directory, ": got a run without its model, want one that a worker founded"));
}

StatusOr<ClusterSetup> cluster_setup(const Recipe& recipe, const BuiltWorkload& built,
                                     FileSystem& files) {
  if (recipe.text("train.mode") != "local-sgd") {
    return recipe.error("train.mode", cat("got ", recipe.text("train.mode"),
                                          ", want local-sgd on a cluster; run.method = dn-dylu "
                                          "is one that has it"));
  }
  const Workload& workload = *built.workload;
  ClusterSetup setup;
  RUBATO_ASSIGN_OR_RETURN(setup.training, training_config(recipe, 1));
  ClusterConfig& cluster = setup.cluster;
  cluster.machine = setup.training;
  cluster.machine.coordinator.batch_sequences = setup.training.worker.batch_sequences;
  cluster.machine.coordinator.inner_rewarm_steps = setup.training.worker.inner_rewarm_steps;
  cluster.digests = {.recipe = cluster_recipe_digest(recipe),
                     .data = built.data_digest,
                     .layout = layout_digest(workload.layout())};
  cluster.shard_sequences = workload.shard_sequences();
  cluster.tokens_per_sequence = workload.tokens_per_sequence();
  cluster.method = recipe.text("run.method");
  cluster.eval_every_steps = recipe.integer("eval.every_local_steps");
  cluster.retention = {.keep_last = recipe.integer("checkpoint.keep_last"),
                       .keep_every_steps = std::nullopt};
  ReceptionConfig& reception = setup.reception;
  reception.recipe_toml = recipe.to_toml();
  reception.tokenizer_digest = workload.vocabulary_digest();
  if (recipe.text(kModelKind) == kLanguageModel) {
    reception.data_directory = recipe.text(kDataDirectory);
    RUBATO_ASSIGN_OR_RETURN(reception.files, run_files(files, reception.data_directory));
  }
  // What a worker of another program needs nobody knows here.
  if (recipe.text(kModelKind) != kOpaqueModel) {
    RUBATO_ASSIGN_OR_RETURN(reception.worker_memory_bytes, worker_bytes(setup.training, workload));
  }
  return setup;
}

StatusOr<Recipe> recipe_of_description(const v1::RunDescription& run,
                                       const std::string& data_directory) {
  std::vector<std::string> sets;
  if (!data_directory.empty()) sets.push_back(cat(kDataDirectory, "=\"", data_directory, "\""));
  RUBATO_ASSIGN_OR_RETURN(const Recipe whole,
                          Recipe::parse(RecipeSchema::make(catalogue()), run.recipe_toml(),
                                        "the coordinator's recipe", sets));
  Recipe recipe = whole.narrowed();
  const std::string digest = cluster_recipe_digest(recipe);
  if (digest == run.recipe_digest()) return recipe;
  return absl::FailedPreconditionError(
      cat("[worker] got a recipe of digest ", digest, ", want ", run.recipe_digest(),
          ": this build reads it otherwise; bring both sides to one release (here ", run.build(),
          " at the coordinator)"));
}

}  // namespace rubato
