#include "rubato/interchange/hf_directory.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "rubato/interchange/hf_tokenizer.h"
#include "rubato/interchange/llama_config.h"
#include "rubato/store/safetensors.h"
#include "rubato/text/manifest.h"

namespace rubato {
namespace {

constexpr int64_t kPiece = 1 << 20;  // [floats] encoded at a time

Status write_weights(FileSystem& files, const std::string& path, const PortableModel& model,
                     WeightType type) {
  const Layout layout = model_layout(model.config);
  const TensorType stored = type == WeightType::kF16 ? TensorType::kF16 : TensorType::kF32;
  std::vector<TensorInfo> infos;
  for (const TensorSpec& tensor : layout.tensors())
    infos.push_back(tensor_info(tensor.name, stored, tensor.shape));
  RUBATO_ASSIGN_OR_RETURN(
      SafetensorsWriter writer,
      SafetensorsWriter::create(files, path, std::move(infos), {{"format", "pt"}}));
  std::string bytes;
  for (const TensorSpec& tensor : layout.tensors()) {
    for (int64_t begin = 0; begin < tensor.size; begin += kPiece) {
      bytes.clear();
      const auto values =
          model.params.subspan(tensor.offset + begin, std::min(kPiece, tensor.size - begin));
      RUBATO_RETURN_IF_ERROR(annotate(append_weights(type, values, bytes), tensor.name));
      RUBATO_RETURN_IF_ERROR(writer.write(tensor.name, bytes));
    }
  }
  return writer.finish().status();
}

std::string generation_config_json() {
  const nlohmann::ordered_json json = {{"bos_token_id", Tokenizer::kBos},
                                       {"eos_token_id", Tokenizer::kEos},
                                       {"do_sample", true},
                                       {"temperature", 0.8}};
  return json.dump(2) + "\n";
}

}  // namespace

Status write_hf_directory(FileSystem& files, const std::string& path, const PortableModel& model,
                          WeightType type) {
  if (type == WeightType::kQ8_0) {
    return absl::InvalidArgumentError(
        "[export] got type q8_0 for format hf, want f32 or f16; format gguf has q8_0");
  }
  RUBATO_RETURN_IF_ERROR(check_portable(model));
  RUBATO_ASSIGN_OR_RETURN(const auto pieces, portable_pieces(*model.tokenizer));
  const LlamaConfig config{.model = model.config,
                           .context_tokens = model.context_tokens,
                           .dtype = type == WeightType::kF16 ? "float16" : "float32"};
  const std::pair<std::string_view, std::string> texts[] = {
      {kHfConfigFile, to_json(config)},
      {"generation_config.json", generation_config_json()},
      {kTokenizerFile, model.tokenizer->model()},
      {"tokenizer.json", tokenizer_json(pieces)},
      {"tokenizer_config.json", tokenizer_config_json(pieces, model.context_tokens)}};
  return make_directory(files, path, [&](const std::string& directory) -> Status {
    for (const auto& [name, text] : texts) {
      RUBATO_RETURN_IF_ERROR(files.replace_file(join_path(directory, name), text));
    }
    return write_weights(files, join_path(directory, kHfModelFile), model, type);
  });
}

}  // namespace rubato
