#include "rubato/lm/score.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "rubato/lm/engine.h"

namespace rubato {
namespace {

constexpr int64_t kBatch = 32;  // windows whose tokens are held at a time

Status check(const ModelConfig& config, std::span<const float> params,
             std::span<const int32_t> tokens, int64_t sequence_length) {
  RUBATO_RETURN_IF_ERROR(validate(config));
  const auto want = [](std::string_view what, int64_t got, std::string_view wanted, int64_t bound) {
    return absl::InvalidArgumentError(
        cat("[score] ", what, ": got ", got, ", want ", wanted, bound));
  };
  const int64_t size = model_layout(config).size();
  if (static_cast<int64_t>(params.size()) != size)
    return want("parameters", static_cast<int64_t>(params.size()), "", size);
  if (tokens.size() < 2) return want("tokens", static_cast<int64_t>(tokens.size()), "at least ", 2);
  if (sequence_length < 1) return want("sequence_length", sequence_length, "at least ", 1);
  for (int32_t token : tokens) {
    if (token < 0 || token >= config.vocab) return want("token", token, "less than ", config.vocab);
  }
  return absl::OkStatus();
}

// Adds the losses of `count` windows of `length` predictions that follow each other in `tokens`.
Status add_windows(const ModelConfig& config, std::span<const float> params,
                   std::span<const int32_t> tokens, int64_t count, int64_t length, int threads,
                   double& sum) {
  if (count == 0 || length == 0) return absl::OkStatus();
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                          Engine::make({.model = config,
                                        .sequence_length = length,
                                        .max_batch = std::min(count, kBatch),
                                        .threads = threads,
                                        .backward = false}));
  std::vector<int32_t> rows;
  for (int64_t begin = 0; begin < count; begin += kBatch) {
    rows.clear();
    for (int64_t i = begin; i < std::min(begin + kBatch, count); ++i) {
      const std::span<const int32_t> window = tokens.subspan(i * length, length + 1);
      rows.insert(rows.end(), window.begin(), window.end());
    }
    engine->add_losses(params, rows, threads, sum);
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<EvalResult> score_tokens(const ModelConfig& config, std::span<const float> params,
                                  std::span<const int32_t> tokens, int64_t sequence_length,
                                  int threads) {
  RUBATO_RETURN_IF_ERROR(check(config, params, tokens, sequence_length));
  EvalResult result;
  result.tokens = static_cast<int64_t>(tokens.size()) - 1;
  const int64_t whole = result.tokens / sequence_length, rest = result.tokens % sequence_length;
  double sum = 0;
  RUBATO_RETURN_IF_ERROR(add_windows(config, params, tokens, whole, sequence_length, threads, sum));
  RUBATO_RETURN_IF_ERROR(add_windows(config, params, tokens.subspan(whole * sequence_length),
                                     rest > 0 ? 1 : 0, rest, threads, sum));
  result.loss_nats = sum / static_cast<double>(result.tokens);
  return result;
}

}  // namespace rubato
