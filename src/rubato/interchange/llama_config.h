// config.json of Hugging Face's LlamaForCausalLM, written and read. Anything that would make
// another model of the same tensors (biases, scaled RoPE, another activation) is refused by name.
// Source: transformers, models/llama/configuration_llama.py; docs/exports.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rubato/base/status.h"
#include "rubato/lm/model_config.h"

namespace rubato {

struct LlamaConfig {
  ModelConfig model;
  int64_t context_tokens = 2048;  // max_position_embeddings
  std::string dtype = "float32";  // of the tensors, for readers
};

/// The file's text, ending in a newline.
std::string to_json(const LlamaConfig& config);
/// DataLoss `[import] WHO: ..` when it is no such file, FailedPrecondition when it describes a
/// model that this program does not have.
StatusOr<LlamaConfig> parse_llama_config(std::string_view who, std::string_view text);

}  // namespace rubato
