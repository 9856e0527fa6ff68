#include "rubato/interchange/hf_import.h"

#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "rubato/interchange/hf_directory.h"
#include "rubato/interchange/weights.h"
#include "rubato/lm/arena.h"
#include "rubato/store/safetensors.h"
#include "rubato/text/manifest.h"
#include "rubato/text/model_fields.h"

namespace rubato {
namespace {

constexpr std::string_view kIndexFile = "model.safetensors.index.json";

// The files that hold tensors: those of an index, or the one.
StatusOr<std::set<std::string>> weight_files(FileSystem& files, const std::string& directory) {
  const std::string path = join_path(directory, kIndexFile);
  if (!files.exists(path)) return std::set<std::string>{kHfModelFile};
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  std::set<std::string> names;
  if (map == json.end() || !map->is_object()) {
    return absl::DataLossError(
        cat("[import] ", path, ": got no weight_map, want one with a file for every tensor"));
  }
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    // An index names files beside it and nothing else on this machine.
    if (name.empty() || name[0] == '.' || name.find('/') != name.npos) {
      return absl::DataLossError(cat("[import] ", path,
                                     ": got a tensor in something that is no "
                                     "file beside the index, want the file's name"));
    }
    names.insert(name);
  }
  return names;
}

// All tensors of a directory, whatever file they are in.
class Tensors {
 public:
  static StatusOr<Tensors> open(FileSystem& files, const std::string& directory) {
    Tensors tensors;
    tensors.directory_ = directory;
    RUBATO_ASSIGN_OR_RETURN(const std::set<std::string> names, weight_files(files, directory));
    for (const std::string& name : names) {
      RUBATO_ASSIGN_OR_RETURN(SafetensorsReader reader,
                              SafetensorsReader::open(files, join_path(directory, name)));
      tensors.readers_.push_back(std::move(reader));
    }
    for (const SafetensorsReader& reader : tensors.readers_) {
      for (const TensorInfo& tensor : reader.tensors()) {
        if (tensors.found_.emplace(tensor.name, Place{&reader, &tensor}).second) continue;
        return absl::DataLossError(
            cat("[import] ", reader.path(), ": got ", tensor.name, " in two files, want it once"));
      }
    }
    return tensors;
  }

  Status read(const TensorSpec& want, std::span<float> out) {
    const auto at = found_.find(want.name);
    if (at == found_.end()) {
      return absl::FailedPreconditionError(cat("[import] ", directory_, ": got no tensor ",
                                               want.name, ", want one as config.json says"));
    }
    const auto [reader, tensor] = at->second;
    const auto refuse = [&, reader = reader, tensor = tensor] {
      return absl::FailedPreconditionError(
          cat("[import] ", reader->path(), ": ", want.name, ": got ", type_name(tensor->type), " [",
              join(tensor->shape, ","), "], want F32, F16 or BF16 [", join(want.shape, ","), "]"));
    };
    if (tensor->shape != want.shape) return refuse();
    if (!widen_weights(tensor->type, reader->data(*tensor), out)) return refuse();
    found_.erase(at);
    return absl::OkStatus();
  }

  // Whatever is left would be missed by the model that the others make.
  Status check_all_read(const ModelConfig& config) const {
    for (const auto& [name, place] : found_) {
      const bool is_needless = name.ends_with("rotary_emb.inv_freq") ||  // follows from the config
                               (config.tied && name == "lm_head.weight");
      if (is_needless) continue;
      return absl::FailedPreconditionError(cat("[import] ", place.reader->path(), ": got ", name,
                                               ", want no tensor beyond those of a Llama-style "
                                               "decoder as config.json says"));
    }
    return absl::OkStatus();
  }

 private:
  struct Place {
    const SafetensorsReader* reader;
    const TensorInfo* tensor;
  };
  std::string directory_;
  std::vector<SafetensorsReader> readers_;
  std::map<std::string, Place, std::less<>> found_;
};

Status read_tokenizer(FileSystem& files, const std::string& directory, ImportedModel& model) {
  const std::string path = join_path(directory, kTokenizerFile);
  if (!files.exists(path)) {
    return absl::NotFoundError(cat("[import] ", path,
                                   ": got no file, want the sentencepiece model that made the "
                                   "model's tokens; tokenizer.json alone is not enough"));
  }
  RUBATO_ASSIGN_OR_RETURN(const std::string given, files.read_file(path));
  std::string kept = without_dummy_prefix(given);
  model.dropped_prefix = kept != given;
  StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::from_model(std::move(kept));
  RUBATO_RETURN_IF_ERROR(annotate(tokenizer.status(), path));
  model.tokenizer = *std::move(tokenizer);
  const int64_t pieces = model.tokenizer->vocab_size(), rows = model.config.model.vocab;
  if (pieces == rows) return absl::OkStatus();
  return absl::FailedPreconditionError(cat("[import] ", path, ": got ", pieces, " pieces, want ",
                                           rows,
                                           " as config.json says; vocabularies that were "
                                           "extended beside tokenizer.model are not read"));
}

}  // namespace

StatusOr<ImportedModel> read_hf_directory(FileSystem& files, const std::string& directory) {
  const std::string path = join_path(directory, kHfConfigFile);
  if (!files.exists(path)) {
    return absl::NotFoundError(cat("[import] ", directory, ": got no ", kHfConfigFile,
                                   " there, want a directory as transformers saves a model"));
  }
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  ImportedModel model;
  RUBATO_ASSIGN_OR_RETURN(model.config, parse_llama_config(path, text));
  RUBATO_RETURN_IF_ERROR(read_tokenizer(files, directory, model));
  RUBATO_ASSIGN_OR_RETURN(Tensors tensors, Tensors::open(files, directory));
  const Layout layout = model_layout(model.config.model);
  RUBATO_RETURN_IF_ERROR(check_memory(layout.size() * static_cast<int64_t>(sizeof(float))));
  model.params.resize(static_cast<size_t>(layout.size()));
  for (const TensorSpec& tensor : layout.tensors()) {
    RUBATO_RETURN_IF_ERROR(tensors.read(
        tensor, std::span(model.params).subspan(tensor.offset, static_cast<size_t>(tensor.size))));
  }
  RUBATO_RETURN_IF_ERROR(tensors.check_all_read(model.config.model));
  return model;
}

}  // namespace rubato
