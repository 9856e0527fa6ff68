// A directory of Hugging Face's that holds a Llama-style model, read: config.json, tokenizer.model
// and the tensors, in model.safetensors or in the files that model.safetensors.index.json names, as
// F32, F16 or BF16. Nothing in the directory is trusted.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rubato/interchange/llama_config.h"
#include "rubato/interchange/portable_model.h"

namespace rubato {

struct ImportedModel {
  LlamaConfig config;
  std::vector<float> params;  // [P] in the order of model_layout()
  std::unique_ptr<Tokenizer> tokenizer;
  /// The tokenizer put a space in front of every text and does so no more: text is kept as it is
  /// here, so "word" at the start of a document no longer has the tokens of " word".
  bool dropped_prefix = false;

  PortableModel portable() const {
    return {"imported", config.model, params, tokenizer.get(), config.context_tokens};
  }
};

/// NotFound names the file that is missing, DataLoss the one that is damaged; FailedPrecondition
/// says what this program cannot be (parse_llama_config), which tensor is missing, of another shape
/// or type, or has no place in such a model; InvalidArgument what is wrong with the tokenizer.
/// ResourceExhausted when memory is short.
StatusOr<ImportedModel> read_hf_directory(FileSystem& files, const std::string& directory);

}  // namespace rubato
