// Text from a trained language model, for `sample` and the end of `compare`.
#pragma once

#include <span>
#include <string>

#include "rubato/app/recipe.h"
#include "rubato/lm/generate.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

struct TextRequest {
  std::string prompt;
  int64_t tokens = 200;  // at most this many new ones
  int threads = 1;
  SamplingOptions options{.temperature = 0.8, .top_k = {}, .seed = 1, .stop_token = {}};
};

/// The prompt and what parameters `theta` [P] make of it, with the tokenizer of the recipe's data.
/// InvalidArgument when the workload is no language model.
StatusOr<std::string> sample_text(const Recipe& recipe, const Workload& workload,
                                  std::span<const float> theta, const TextRequest& request);

}  // namespace rubato
