// Small models with lively parameters for tests of this room, as they are handed over.
#pragma once

#include <memory>
#include <vector>

#include "rubato/interchange/portable_model.h"

namespace rubato {

struct TinyModel {
  ModelConfig config;
  std::vector<float> params;  // [P]
  std::unique_ptr<Tokenizer> tokenizer;

  PortableModel portable(int64_t context_tokens = 256) const {
    return {"tiny", config, params, tokenizer.get(), context_tokens};
  }
};

/// Of the shape `config`; its vocabulary becomes that of a BPE of 400 pieces over the project's own
/// text, or of the bytes.
TinyModel tiny_model(ModelConfig config = {}, bool only_bytes = false);

/// Grouped queries, an embedding of its own for the head, heads that are wider than the model.
ModelConfig grouped_untied_shape();

}  // namespace rubato
