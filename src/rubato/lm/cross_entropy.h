// The head and its loss. Logits exist once, in tiles split by vocabulary, for a bounded chunk of
// rows at a time: each tile keeps exp(logit - tile's row max) and folds into the rows' running
// maximum and sum; when all tiles of a chunk are there, they become the gradient in place.
//   loss = sum_r (log sum_v exp(x_r . w_v) - x_r . w_target(r))
// Legend: R rows of a chunk, D width, V vocabulary.
#pragma once

#include <cstdint>

#include "rubato/lm/arena.h"

namespace rubato {

class CrossEntropy {
 public:
  /// For up to `rows` rows; takes its tiles from `carver`: one when only the loss is wanted.
  CrossEntropy(int64_t rows, int64_t width, int64_t vocab, bool backward, Carver& carver);

  /// Sum of the losses [nats] of rows x (rows, D) with head weight (V, D).
  double loss(int64_t rows, const float* x, const float* weight, const int32_t* targets);
  /// The same, and the gradient of `scale` * loss: written to dx (rows, D), added to dweight
  /// (V, D), which is overwritten instead when `first`.
  double loss_and_gradient(int64_t rows, const float* x, const float* weight,
                           const int32_t* targets, float scale, bool first, float* dx,
                           float* dweight);

 private:
  struct Tile {
    float* values;  // (R, tile_stride_)
    float* max;     // [R]
    int64_t begin;  // first vocabulary entry
    int64_t count;
  };
  Tile tile(int64_t index) const;
  double forward_chunk(int64_t rows, const float* x, const float* weight, const int32_t* targets);
  void backward_chunk(int64_t rows, const float* x, const float* weight, const int32_t* targets,
                      float scale, bool first, float* dx, float* dweight);

  int64_t width_, vocab_;
  int64_t chunk_rows_;  // R
  int64_t tile_stride_;
  int64_t tiles_;
  bool backward_;
  float* values_;    // (tiles, R, tile_stride_), or one tile
  float* tile_max_;  // (tiles, R), or one tile
  float* row_max_;   // [R] over the tiles so far
  double* row_sum_;  // [R] of exp(logit - row_max)
  float* tile_sum_;  // [R]
  float* target_;    // [R] the target's logit
  float* factor_;    // [R]
};

}  // namespace rubato
