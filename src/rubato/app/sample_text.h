// Text from a trained language model, for `sample` and the end of `compare`.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "rubato/app/recipe.h"
#include "rubato/lm/generate.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

struct TextRequest {
  std::string prompt;
  int64_t tokens = 200;  // at most this many new ones
  int threads = 1;
  SamplingOptions options{
      .temperature = 0.8, .top_k = {}, .top_p = {}, .seed = 1, .stop_token = {}};
};

/// Called with each piece of text as soon as it is certain: whole characters, where it is UTF-8.
using TextCallback = std::function<void(std::string_view piece)>;

/// The prompt and what parameters `theta` [P] make of it, with the tokenizer of the recipe's data.
/// The pieces that `on_text` gets make up the same text. InvalidArgument when the workload is no
/// language model.
StatusOr<std::string> sample_text(const Recipe& recipe, const Workload& workload,
                                  std::span<const float> theta, const TextRequest& request,
                                  const TextCallback& on_text = {});

}  // namespace rubato
