// One microbatch through the model, forwards and backwards, single-threaded, in memory carved
// beforehand. The residual stream is kept once per half layer; the gradient runs back through one
// buffer.
//   x' = x + Wo attention(norm(x)),  x'' = x' + Wd swiglu(Wgu norm(x'))
// Legend: M rows = sequences * T; C = H*E + 2*K*E.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rubato/lm/arena.h"
#include "rubato/lm/attention_layer.h"
#include "rubato/lm/cross_entropy.h"
#include "rubato/lm/forward_weights.h"
#include "rubato/lm/model_config.h"
#include "rubato/lm/model_offsets.h"
#include "rubato/lm/step_profile.h"

namespace rubato {

class Decoder {
 public:
  /// What the forward pass keeps of a layer: nothing, when there is no backward pass; its input,
  /// from which the backward pass makes the rest again; all its activations. Layers share what is
  /// not kept.
  enum class Keeps { kNothing, kInputs, kActivations };

  /// For microbatches of up to `sequences` sequences of `positions` tokens. `offsets` and
  /// `weights` outlive the decoder; `weights` are made from the parameters before every call.
  /// init() before use.
  Decoder(const ModelConfig& config, const ModelOffsets& offsets, const ForwardWeights& weights,
          int64_t positions, int64_t sequences, Keeps keeps, Carver& carver);
  void init();
  /// Starts a new count; nullptr stops counting.
  void measure_parts(ReadClock clock) { clock_ = PartClock(clock); }
  const PartTimes& part_times() const { return clock_.times(); }

  /// Sum of the token losses [nats]. `tokens` (sequences, T + 1): inputs and, one further, targets.
  double loss(const float* params, std::span<const int32_t> tokens);
  /// The same, and adds the gradient of `scale` * loss to `gradient` [P]; overwrites it when
  /// `first`.
  double loss_and_gradient(const float* params, std::span<const int32_t> tokens, float scale,
                           bool first, float* gradient);
  /// Logits (M, V) of `tokens` (sequences, T + 1), whose last column is not looked at.
  void logits(const float* params, std::span<const int32_t> tokens, float* out);

 private:
  struct LayerCache {
    float* x;       // (M, D) before the layer
    float* rms;     // [M] 1/rms of x
    float* normed;  // (M, D)
    AttentionCache attention;
    float* mixed;       // (M, H*E)
    float* x_mid;       // (M, D) between attention and feed-forward
    float* rms_mid;     // [M]
    float* normed_mid;  // (M, D)
    float* gate_up;     // (M, 2F)
    float* active;      // (M, F)
  };
  void take_layers(Carver& carver);
  LayerCache take_layer(Carver& carver);
  float* take_input(Carver& carver) const;
  int64_t load(std::span<const int32_t> tokens);
  void forward(const float* params, int64_t rows);
  void make_activations(const float* params, int64_t layer, int64_t rows);
  void leave_layer(int64_t layer, int64_t rows, float* next);
  void backward_layer(const float* params, int64_t layer, int64_t rows, bool first,
                      float* gradient);

  ModelConfig config_;
  const ModelOffsets* offsets_;
  const ForwardWeights* weights_;
  int64_t positions_, max_rows_;
  int64_t q_width_, row_width_;  // H*E, C
  Keeps keeps_;
  PartClock clock_;
  AttentionLayer attention_;
  CrossEntropy cross_entropy_;
  std::vector<LayerCache> layers_;
  int32_t* inputs_;           // [M]
  int32_t* targets_;          // [M]
  float* x_;                  // (M, D) after the last layer
  float* rms_;                // [M]
  float* normed_;             // (M, D)
  float* qkv_;                // (M, C), later its gradient
  float* dx_ = nullptr;       // (M, D) gradient of the residual stream
  float* dnormed_ = nullptr;  // (M, D)
  float* dwide_ = nullptr;    // (M, max(F, H*E))
};

}  // namespace rubato
