// The head and its loss. Logits exist once, in tiles split by vocabulary, for a bounded chunk of
// rows at a time. All tiles of a row hold E = exp(logit - shift) with one shift a row, so the
// probabilities E / sum need no pass over the logits of their own: the two products of the backward
// pass read E, and the row's factor f = scale / sum goes to what is only D wide.
//   loss = sum_r (shift + log sum_v E_rv - x_r . w_target(r))
//   dx   = f * (E W) - scale * w_target          dW = E^T (f * x), minus scale * x at the target
// The shift is the first tile's row maximum. It rises only when a later logit stands so far above
// it that E could overflow; then the row's earlier tiles are scaled down once.
// Legend: R rows of a chunk, D width, V vocabulary.
#pragma once

#include <cstdint>

#include "rubato/lm/arena.h"
#include "rubato/lm/forward_weights.h"
#include "rubato/lm/products.h"

namespace rubato {

class CrossEntropy {
 public:
  /// For up to `rows` rows; takes its tiles from `carver`: one when only the loss is wanted.
  CrossEntropy(int64_t rows, int64_t width, int64_t vocab, bool backward, Carver& carver);

  /// Sum of the losses [nats] of rows x (rows, D).
  double loss(Multiplier& multiply, int64_t rows, const float* x, const ForwardWeights& weights,
              const int32_t* targets);
  /// The same, and the gradient of `scale` * loss, with the head (V, D) as the parameters have it:
  /// written to dx (rows, D), added to dweight (V, D), which is overwritten instead when `first`.
  double loss_and_gradient(Multiplier& multiply, int64_t rows, const float* x,
                           const ForwardWeights& weights, const float* weight,
                           const int32_t* targets, float scale, bool first, float* dx,
                           float* dweight);

 private:
  struct Tile {
    float* values;  // (R, tile_stride_)
    int64_t begin;  // first vocabulary entry
    int64_t count;
  };
  Tile tile(int64_t index) const;
  void scale_earlier_tiles(int64_t row, int64_t tiles, float factor);
  double forward_chunk(Multiplier& multiply, int64_t rows, const float* x,
                       const ForwardWeights& weights, const int32_t* targets);
  void backward_chunk(Multiplier& multiply, int64_t rows, const float* x, const float* weight,
                      const int32_t* targets, float scale, bool first, float* dx, float* dweight);

  int64_t width_, vocab_;
  int64_t chunk_rows_;  // R
  int64_t tile_stride_;
  int64_t tiles_;
  bool backward_;
  float* values_;    // (tiles, R, tile_stride_), or one tile
  float* shift_;     // [R]
  float* rescale_;   // [R] what a rising shift leaves of the earlier tiles; 1 where it stayed
  double* row_sum_;  // [R] of E over the tiles so far
  float* tile_sum_;  // [R]
  float* target_;    // [R] the target's logit
  float* factor_ = nullptr;    // [R] f
  float* scaled_x_ = nullptr;  // (R, D) f * x
};

}  // namespace rubato
