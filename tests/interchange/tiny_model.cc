#include "tests/interchange/tiny_model.h"

#include "tests/lm/reference_model.h"
#include "tests/text/sample_text.h"

namespace rubato {

TinyModel tiny_model(ModelConfig config, bool only_bytes) {
  constexpr int64_t kPieces = 400;
  TinyModel model;
  model.tokenizer = only_bytes ? Tokenizer::bytes().value()
                               : Tokenizer::train(sample_passages(), kPieces).value();
  config.vocab = model.tokenizer->vocab_size();
  model.config = config;
  model.params = reference::lively_params(model_layout(config), 7, 0.15);
  return model;
}

ModelConfig grouped_untied_shape() {
  return {.layers = 2,
          .width = 48,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 20,
          .ffn = 80,
          .tied = false,
          .rope_theta = 5000,
          .norm_eps = 1e-4};
}

}  // namespace rubato
