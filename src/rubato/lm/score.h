// The loss of a model on any stream of tokens: what perplexity is made of.
#pragma once

#include <cstdint>
#include <span>

#include "rubato/base/status.h"
#include "rubato/lm/model_config.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

/// Mean loss [nats] over every token of `tokens` but the first, in windows of `sequence_length`
/// predictions that start without a past; the last window may be shorter. Bits per byte are left at
/// 0: the caller knows the bytes. The same bits for every `threads`. InvalidArgument for fewer than
/// two tokens, a token outside the vocabulary or parameters of another size.
StatusOr<EvalResult> score_tokens(const ModelConfig& config, std::span<const float> params,
                                  std::span<const int32_t> tokens, int64_t sequence_length,
                                  int threads);

}  // namespace rubato
