// One microbatch through the model, forwards and backwards, in memory carved beforehand. The
// residual stream is kept once per half layer; the gradient runs back through one buffer.
//   x' = x + Wo attention(norm(x)),  x'' = x' + Wd swiglu(Wgu norm(x'))
// The work is a list of stages. A stage goes by rows, which are independent in it, or by heads,
// which are independent in attention; so several parts can share a microbatch, each with its rows,
// its heads and a gradient of its own, and meet only where rows and heads change places. A decoder
// with one part is the usual case: one thread, one microbatch. Legend: M rows = sequences * T; C =
// H*E + 2*K*E.
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
#include "rubato/lm/products.h"
#include "rubato/lm/step_profile.h"

namespace rubato {

class Decoder {
 public:
  /// What the forward pass keeps of a layer: nothing, when there is no backward pass; its input,
  /// from which the backward pass makes the rest again; all its activations. Layers share what is
  /// not kept.
  enum class Keeps { kNothing, kInputs, kActivations };

  /// What a part's backward pass works on.
  struct Pass {
    const float* params;  // [P]
    float scale;          // of the loss
    bool first;           // the gradient is overwritten, else added to
    float* gradient;      // [P], d(scale * loss of the part's rows)/d(params)
  };

  /// For microbatches of up to `sequences` sequences of `positions` tokens, shared by `parts`.
  /// `offsets` and `weights` outlive the decoder; `weights` are made from the parameters before
  /// every call; logits() alone is fp32 whatever `products` says. init() before use.
  Decoder(const ModelConfig& config, const ModelOffsets& offsets, const ForwardWeights& weights,
          int64_t positions, int64_t sequences, int parts, Keeps keeps, Products products,
          Carver& carver);
  void init();
  /// Starts a new count; nullptr stops counting.
  void start_clocks(ReadClock clock);
  void add_times(PartTimes& sum) const;

  /// Takes the microbatch of the calls below: `tokens` (sequences, T + 1), inputs and, one further,
  /// targets.
  void load(std::span<const int32_t> tokens);
  /// Sum of the token losses [nats].
  double loss(const float* params);
  /// Logits (M, V).
  void logits(const float* params, float* out);
  /// The same as loss(), and the gradient; for a decoder with one part.
  double loss_and_gradient(const Pass& pass);

  /// Forward and backward pass in phases: all parts make a phase, in any order or side by side,
  /// before one begins the next.
  int64_t num_phases() const { return static_cast<int64_t>(phases_.size()); }
  void run_phase(int64_t phase, int part, const Pass& pass);
  /// Of the part's rows, once the phases are through.
  double part_loss(int part) const { return parts_[part].loss; }

 private:
  enum class Stage : uint8_t {
    kBegin,       // rows: embedding
    kEnter,       // rows: norm, projections to queries, keys and values
    kAttend,      // heads
    kFeed,        // rows: attention's output, norm, feed-forward up to its activation
    kLeave,       // rows: into the next layer
    kHead,        // rows: last norm, loss and its gradient
    kBackFeed,    // rows: back to attention's output
    kBackAttend,  // heads
    kBackEnter,   // rows: back into the layer below
    kEnd,         // rows: embedding's gradient
  };
  struct Work {
    Stage stage;
    int64_t layer;
  };
  struct Range {
    int64_t begin, end;
    int64_t size() const { return end - begin; }
  };
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
  struct Part {
    Range rows;   // of the microbatch at hand
    Range heads;  // groups of query heads around a key-value head
    double loss = 0;
    PartClock clock;
    CrossEntropy cross_entropy;
    Multiplier multiply;
  };

  void list_work();
  Multiplier take_multiplier(int64_t rows, Products products, Carver& carver) const;
  void take_layers(Carver& carver);
  LayerCache take_layer(Carver& carver);
  float* take_input(Carver& carver) const;
  void run(Work work, int part, const Pass& pass);
  void forward(const float* params);
  void clear_sums(const Part& part, const Pass& pass) const;
  void begin(Part& part, const Pass& pass);
  void enter(int64_t layer, Part& part, const Pass& pass);
  void attend(int64_t layer, int part);
  void feed(int64_t layer, Part& part, const Pass& pass);
  void leave(int64_t layer, Part& part);
  void last_norm(Part& part, const float* params);
  void head(Part& part, const Pass& pass);
  void back_feed(int64_t layer, Part& part, const Pass& pass);
  void back_attend(int64_t layer, int part);
  void back_enter(int64_t layer, Part& part, const Pass& pass);
  void end(Part& part, const Pass& pass);

  ModelConfig config_;
  const ModelOffsets* offsets_;
  const ForwardWeights* weights_;
  int64_t positions_, max_rows_;
  int64_t rows_ = 0;             // M of the microbatch at hand
  int64_t q_width_, row_width_;  // H*E, C
  Keeps keeps_;
  std::vector<Work> work_;     // in order
  int64_t forward_work_ = 0;   // of them, up to the last norm
  std::vector<Range> phases_;  // of work_
  std::vector<Part> parts_;
  AttentionLayer attention_;
  std::vector<LayerCache> layers_;
  int32_t* inputs_;           // [M]
  int32_t* targets_;          // [M]
  float* x_;                  // (M, D) after the last layer
  float* rms_;                // [M]
  float* normed_;             // (M, D)
  float* qkv_;                // (M, C), later its gradient
  float* dx_ = nullptr;       // (M, D) gradient of the residual stream
  float* dnormed_ = nullptr;  // (M, D)
  float* dwide_ = nullptr;    // (M, F), of the feed-forward's activation
  float* dmixed_ = nullptr;   // (M, H*E), of attention's output
};

}  // namespace rubato
