// The decoder of rubato/lm/model_config.h once more, as plain double-precision loops: what the
// engine is measured against. Nothing here is shared with the engine but the configuration and the
// layout; nothing is fast. Finite differences hold the backward pass (reference_model_test.cc).
//   x = embedding[token];  per layer  x += o(attention(rope(q(n)), rope(k(n)), v(n))),  n = norm(x)
//                                     x += down(silu(gate(n)) * up(n)),                 n = norm(x)
//   loss = mean over all positions of -log softmax(head(norm(x)))[next token]
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rubato/base/layout.h"
#include "rubato/lm/model_config.h"

namespace rubato::reference {

class Model {
 public:
  /// sequence_length: T, predictions per sequence.
  Model(const ModelConfig& config, int64_t sequence_length);

  const ModelConfig& config() const { return config_; }
  const Layout& layout() const { return layout_; }
  int64_t sequence_length() const { return length_; }

  /// [nats] (B, T): the cross-entropy of every prediction. tokens (B, T + 1), params [P].
  std::vector<double> token_losses(std::span<const double> params,
                                   std::span<const int32_t> tokens) const;
  /// [nats] The mean of token_losses.
  double loss(std::span<const double> params, std::span<const int32_t> tokens) const;
  /// The loss, and its gradient [P], which is overwritten.
  double loss_and_gradient(std::span<const double> params, std::span<const int32_t> tokens,
                           std::span<double> gradient) const;

 private:
  ModelConfig config_;
  Layout layout_;
  int64_t length_;
};

/// AdamW in double (ALGORITHMS.md 4.2): the gradient clipped to a global norm, moments with bias
/// correction, decay of lr * weight_decay * parameter on everything but norms and biases.
struct AdamW {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1, clip_norm = 1.0;
  std::vector<double> first, second;  // [P] moments; empty before the first step
  int64_t steps = 0;

  /// One step on params [P]. Returns the gradient's norm before clipping.
  double step(const Layout& layout, std::span<const double> gradient, double lr,
              std::span<double> params);
};

/// Single-precision values as doubles.
std::vector<double> widen(std::span<const float> values);

/// One line for every tensor of `layout` whose gradient `got` is off: |got - want| > relative *
/// |want| + floor in the Euclidean norm, or not a number. Empty when all agree.
std::string disagreements(const Layout& layout, std::span<const float> got,
                          std::span<const double> want, double relative, double floor);

/// Seeded parameters [P] that exercise every term: matrices normal with deviation `scale`, norms
/// around 1. Initial parameters of a real model have gradients too small to tell errors from noise.
std::vector<float> lively_params(const Layout& layout, uint64_t seed, double scale);

/// (sequences, length + 1) seeded tokens below `vocab`.
std::vector<int32_t> random_tokens(int64_t vocab, int64_t sequences, int64_t length, uint64_t seed);

}  // namespace rubato::reference
