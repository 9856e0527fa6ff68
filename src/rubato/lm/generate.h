// Text from a model, one token a pass: keys and values of the positions so far are kept, so a new
// token costs one pass over the parameters, whose rows threads share. Nothing is allocated per
// token.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/lm/model_config.h"
#include "rubato/lm/model_offsets.h"
#include "rubato/lm/team.h"

namespace rubato {

/// The model's next-token distribution as a sequence grows.
class IncrementalDecoder {
 public:
  /// `params` [P] outlive the decoder. InvalidArgument for an impossible shape or a buffer of
  /// another size; ResourceExhausted when keys and values of `max_positions` or the threads cannot
  /// be had. The number of threads changes no bit.
  static StatusOr<std::unique_ptr<IncrementalDecoder>> make(const ModelConfig& config,
                                                            std::span<const float> params,
                                                            int64_t max_positions, int threads);
  /// Takes the next token, in [0, V), and returns the logits [V] of the one after it, valid until
  /// the next call. Aborts beyond max_positions.
  std::span<const float> feed(int32_t token);
  int64_t positions() const { return position_; }

 private:
  IncrementalDecoder(const ModelConfig& config, std::span<const float> params,
                     int64_t max_positions, std::unique_ptr<Team> team);
  void fill_angles();
  void rotate(float* head, float scale) const;
  void attend(int64_t layer);
  void multiply(int64_t rows, int64_t cols, int64_t matrix, const float* x, bool accumulate,
                float* y);

  ModelConfig config_;
  ModelOffsets offsets_;
  std::span<const float> params_;
  int64_t max_positions_;
  int64_t position_ = 0;
  int64_t q_width_, kv_width_;           // H*E, K*E
  std::vector<float> keys_;              // (L, max_positions, K*E), rotated
  std::vector<float> values_;            // (L, max_positions, K*E)
  std::vector<float> x_, normed_;        // [D]
  std::vector<float> qkv_, mixed_;       // [H*E + 2*K*E], [H*E]
  std::vector<float> gate_up_, active_;  // [2F], [F]
  std::vector<double> cosine_, sine_;    // [E/2] of the current position
  std::vector<float> scores_;            // (H, max_positions)
  std::vector<float> logits_;            // [V]
  std::unique_ptr<Team> team_;
};

struct SamplingOptions {
  double temperature = 1.0;           // 0: always the likeliest token
  std::optional<int64_t> top_k = {};  // draw among the k likeliest only
  // Draw among as few of the likeliest as have this share of those that top_k leaves, in (0, 1];
  // Holtzman et al. 2020.
  std::optional<double> top_p = {};
  uint64_t seed = 0;
  std::optional<int32_t> stop_token = {};  // ends the text; not part of it
};

/// Draws tokens from logits [V], with memory of its own.
class TokenSampler {
 public:
  TokenSampler(const SamplingOptions& options, int64_t vocab);
  /// `draw` is uniform in [0, 1). Ties go to the smaller token.
  int32_t choose(std::span<const float> logits, double draw);

 private:
  SamplingOptions options_;
  std::vector<int32_t> tokens_;  // [V], as far as needed by falling logits
  std::vector<float> weights_;   // [V], by token
};

/// Called with each token as soon as it is drawn; an error ends the text and is returned.
using TokenCallback = std::function<Status(int32_t token)>;

/// Up to `max_new_tokens` tokens that continue `prompt` (at least one token, each in [0, V)). The
/// same arguments give the same tokens. InvalidArgument says what is wrong with them,
/// FailedPrecondition that the model's logits are not finite.
StatusOr<std::vector<int32_t>> generate(const ModelConfig& config, std::span<const float> params,
                                        std::span<const int32_t> prompt, int64_t max_new_tokens,
                                        const SamplingOptions& options, int threads,
                                        const TokenCallback& on_token = {});

}  // namespace rubato
