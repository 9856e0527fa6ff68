#include "rubato/interchange/initial_model.h"

#include "rubato/base/digest.h"
#include "rubato/interchange/hf_directory.h"
#include "rubato/interchange/llama_config.h"
#include "rubato/text/manifest.h"

namespace rubato {

StatusOr<InitialModel> InitialModel::open(FileSystem& files, const std::string& directory) {
  const auto in = [&](std::string_view name) { return join_path(directory, name); };
  for (const std::string_view name :
       {std::string_view(kHfConfigFile), kTokenizerFile, std::string_view(kHfModelFile)}) {
    if (files.exists(in(name))) continue;
    return absl::NotFoundError(cat("[init] ", directory, ": got no ", name,
                                   " there, want a directory that `rubato import` wrote"));
  }
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(in(kHfConfigFile)));
  RUBATO_ASSIGN_OR_RETURN(const LlamaConfig config, parse_llama_config(in(kHfConfigFile), text));
  RUBATO_ASSIGN_OR_RETURN(SafetensorsReader weights,
                          SafetensorsReader::open(files, in(kHfModelFile)));
  InitialModel model(std::move(weights));
  model.config_ = config.model;
  model.tokenizer_path_ = in(kTokenizerFile);
  RUBATO_ASSIGN_OR_RETURN(const std::string tokenizer, files.read_file(model.tokenizer_path_));
  model.tokenizer_digest_ = digest_of(tokenizer);
  model.digest_ = digest_of(model.weights_.file_bytes());
  return model;
}

Status InitialModel::read(const Layout& layout, std::span<float> params) const {
  RUBATO_CHECK(static_cast<int64_t>(params.size()) == layout.size());
  for (const TensorSpec& tensor : layout.tensors()) {
    const TensorInfo* found = weights_.find(tensor.name);
    if (found == nullptr || found->shape != tensor.shape || found->type != TensorType::kF32) {
      return absl::FailedPreconditionError(
          cat("[init] ", weights_.path(), ": ", tensor.name, ": got ",
              found == nullptr ? "nothing"
                               : cat(type_name(found->type), " [", join(found->shape, ","), "]"),
              ", want F32 [", join(tensor.shape, ","),
              "]; `rubato import` writes F32, and the recipe's model has to be this one"));
    }
    RUBATO_RETURN_IF_ERROR(weights_.read(
        tensor.name, params.subspan(tensor.offset, static_cast<size_t>(tensor.size))));
  }
  return absl::OkStatus();
}

}  // namespace rubato
