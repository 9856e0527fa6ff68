// What `rubato import` wrote, as the start of a run: a Hugging Face directory whose parameters are
// F32 in one file, so that they are mapped and copied, never held twice. `rubato export --format
// hf` writes the same.
#pragma once

#include <span>
#include <string>

#include "rubato/lm/model_config.h"
#include "rubato/store/safetensors.h"

namespace rubato {

class InitialModel {
 public:
  /// Errors as read_hf_directory(); FailedPrecondition when it has to be imported first.
  static StatusOr<InitialModel> open(FileSystem& files, const std::string& directory);

  const ModelConfig& config() const { return config_; }
  /// Of tokenizer.model, as prepared text names it.
  const std::string& tokenizer_digest() const { return tokenizer_digest_; }
  const std::string& tokenizer_path() const { return tokenizer_path_; }
  /// Of the file of parameters: what a recipe says a run started from.
  const std::string& digest() const { return digest_; }
  /// Copies the parameters [P]; FailedPrecondition when `layout` is another model's.
  Status read(const Layout& layout, std::span<float> params) const;

 private:
  explicit InitialModel(SafetensorsReader weights) : weights_(std::move(weights)) {}

  ModelConfig config_;
  std::string tokenizer_digest_, tokenizer_path_, digest_;
  SafetensorsReader weights_;
};

}  // namespace rubato
