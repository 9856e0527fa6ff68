#include "rubato/app/initial_parameters.h"

#include <optional>

#include "rubato/interchange/initial_model.h"

namespace rubato {
namespace {

// The model that the recipe starts from; none when that is its seed.
StatusOr<std::optional<InitialModel>> initial_model(FileSystem* files, const Recipe& recipe,
                                                    const Workload& workload,
                                                    const std::string& directory) {
  if (!recipe.has(kModelInit)) return std::optional<InitialModel>();
  if (directory.empty()) {
    return recipe.error(kModelInit, cat("got no model to start from, want the one of digest ",
                                        recipe.text(kModelInit), "; --init names its directory"));
  }
  RUBATO_ASSIGN_OR_RETURN(InitialModel model, InitialModel::open(*files, directory));
  if (model.digest() != recipe.text(kModelInit)) {
    return recipe.error(kModelInit, cat("got ", directory, " of digest ", model.digest(), ", want ",
                                        recipe.text(kModelInit)));
  }
  if (model.tokenizer_digest() != workload.vocabulary_digest()) {
    return absl::FailedPreconditionError(
        cat("[init] ", directory, ": got a model with tokenizer ", model.tokenizer_digest(),
            " for text with tokenizer ", workload.vocabulary_digest(), " in ",
            recipe.text("data.directory"), ", want the same; `rubato prepare TEXT --tokenizer ",
            model.tokenizer_path(), " --out DIR` makes such text"));
  }
  return std::optional<InitialModel>(std::move(model));
}

}  // namespace

StatusOr<Recipe> with_initial_model(FileSystem& files, const Recipe& recipe,
                                    const std::string& directory) {
  if (recipe.text(kModelKind) != kLanguageModel) {
    return recipe.error(kModelKind, cat("got ", recipe.text(kModelKind),
                                        " to start from a model of files, want ", kLanguageModel));
  }
  RUBATO_ASSIGN_OR_RETURN(const InitialModel model, InitialModel::open(files, directory));
  const ModelConfig& config = model.config();
  const std::pair<std::string_view, OptionValue> wanted[] = {
      {"model.layers", config.layers},     {"model.width", config.width},
      {"model.heads", config.heads},       {"model.kv_heads", config.kv_heads},
      {"model.head_dim", config.head_dim}, {"model.ffn", config.ffn},
      {"model.tied", config.tied},         {"model.rope_theta", config.rope_theta},
      {"model.norm_eps", config.norm_eps}, {kModelInit, model.digest()}};
  Recipe result = recipe;
  for (const auto& [key, value] : wanted) {
    RUBATO_ASSIGN_OR_RETURN(Recipe with, result.with(key, value, cat("--init ", directory)));
    const bool is_set = recipe.where(key) == "--set";
    if (is_set && result.resolved().at(std::string(key)) != value) {
      return recipe.error(
          key, cat("got ", to_text(result.resolved().at(std::string(key))), ", want ",
                   to_text(value), " as the model in ", directory, " has it; leave it out"));
    }
    result = std::move(with);
  }
  return recipe.where("pretrain.steps") == "--set" ? result : result.without_section("pretrain");
}

Status check_initial_model(FileSystem* files, const Recipe& recipe, const Workload& workload,
                           const std::string& directory) {
  return initial_model(files, recipe, workload, directory).status();
}

Status start_parameters(FileSystem* files, const Recipe& recipe, const Workload& workload,
                        const std::string& directory, std::span<float> theta) {
  RUBATO_ASSIGN_OR_RETURN(const std::optional<InitialModel> model,
                          initial_model(files, recipe, workload, directory));
  if (model) return model->read(workload.layout(), theta);
  workload.initialise(static_cast<uint64_t>(recipe.integer("run.seed")), theta);
  return absl::OkStatus();
}

}  // namespace rubato
