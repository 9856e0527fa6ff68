#include "rubato/lm/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rubato/lm/kernels/rows.h"

namespace rubato {
namespace {

// Logits held at a time: 16 Mi floats, or one row of tiles if that is more. Longer sums over rows
// read and write the head's gradient less often.
constexpr int64_t kChunkFloats = int64_t{16} << 20;
// Against cache-set conflicts of power-of-two strides.
constexpr int64_t kStridePadding = 16;

}  // namespace

CrossEntropy::CrossEntropy(int64_t rows, int64_t width, int64_t vocab, bool backward,
                           Carver& carver)
    : width_(width),
      vocab_(vocab),
      chunk_rows_(std::min(rows, std::max<int64_t>(kChunkFloats / vocab / 16 * 16, 16))),
      tile_stride_(std::min((vocab + 15) / 16 * 16, kTileColumns) + kStridePadding),
      tiles_((vocab + kTileColumns - 1) / kTileColumns),
      backward_(backward) {
  const int64_t held = backward ? tiles_ : 1;
  values_ = carver.take<float>(held * chunk_rows_ * tile_stride_);
  shift_ = carver.take<float>(chunk_rows_);
  rescale_ = carver.take<float>(chunk_rows_);
  row_sum_ = carver.take<double>(chunk_rows_);
  tile_sum_ = carver.take<float>(chunk_rows_);
  target_ = carver.take<float>(chunk_rows_);
  if (!backward) return;
  factor_ = carver.take<float>(chunk_rows_);
  scaled_x_ = carver.take<float>(chunk_rows_ * width);
}

CrossEntropy::Tile CrossEntropy::tile(int64_t index) const {
  const int64_t place = backward_ ? index : 0, begin = index * kTileColumns;
  return {.values = values_ + place * chunk_rows_ * tile_stride_,
          .begin = begin,
          .count = std::min(kTileColumns, vocab_ - begin)};
}

double CrossEntropy::loss(Multiplier& multiply, int64_t rows, const float* x,
                          const ForwardWeights& weights, const int32_t* targets) {
  double total = 0;
  for (int64_t r = 0; r < rows; r += chunk_rows_) {
    total += forward_chunk(multiply, std::min(chunk_rows_, rows - r), x + r * width_, weights,
                           targets + r);
  }
  return total;
}

double CrossEntropy::loss_and_gradient(Multiplier& multiply, int64_t rows, const float* x,
                                       const ForwardWeights& weights, const float* weight,
                                       const int32_t* targets, float scale, bool first, float* dx,
                                       float* dweight) {
  double total = 0;
  for (int64_t r = 0; r < rows; r += chunk_rows_) {
    const int64_t count = std::min(chunk_rows_, rows - r);
    total += forward_chunk(multiply, count, x + r * width_, weights, targets + r);
    backward_chunk(multiply, count, x + r * width_, weight, targets + r, scale, first && r == 0,
                   dx + r * width_, dweight);
  }
  return total;
}

void CrossEntropy::scale_earlier_tiles(int64_t row, int64_t tiles, float factor) {
  row_sum_[row] *= static_cast<double>(factor);
  if (!backward_) return;  // they are gone already
  for (int64_t index = 0; index < tiles; ++index) {
    const Tile t = tile(index);
    float* values = t.values + row * tile_stride_;
    kernels::scale_rows(1, t.count, &factor, values, values);
  }
}

double CrossEntropy::forward_chunk(Multiplier& multiply, int64_t rows, const float* x,
                                   const ForwardWeights& weights, const int32_t* targets) {
  std::fill_n(shift_, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(row_sum_, rows, 0.0);
  for (int64_t index = 0; index < tiles_; ++index) {
    const Tile t = tile(index);
    multiply.nn(rows, t.count, width_, x, width_, weights.head(t.begin), t.count, 0.0f, t.values,
                tile_stride_);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t column = targets[r] - t.begin;
      if (column >= 0 && column < t.count) target_[r] = t.values[r * tile_stride_ + column];
    }
    kernels::exp_rows(rows, t.count, tile_stride_, t.values, shift_, rescale_, tile_sum_);
    for (int64_t r = 0; r < rows; ++r) {
      if (index > 0 && rescale_[r] != 1.0f) scale_earlier_tiles(r, index, rescale_[r]);
      row_sum_[r] += static_cast<double>(tile_sum_[r]);
    }
  }
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) {
    total +=
        static_cast<double>(shift_[r]) + std::log(row_sum_[r]) - static_cast<double>(target_[r]);
  }
  return total;
}

void CrossEntropy::backward_chunk(Multiplier& multiply, int64_t rows, const float* x,
                                  const float* weight, const int32_t* targets, float scale,
                                  bool first, float* dx, float* dweight) {
  for (int64_t r = 0; r < rows; ++r)
    factor_[r] = static_cast<float>(static_cast<double>(scale) / row_sum_[r]);
  kernels::scale_rows(rows, width_, factor_, x, scaled_x_);
  for (int64_t index = 0; index < tiles_; ++index) {
    const Tile t = tile(index);
    multiply.nn(rows, width_, t.count, t.values, tile_stride_, weight + t.begin * width_, width_,
                index == 0 ? 0.0f : 1.0f, dx, width_);
    multiply.tn(t.count, width_, rows, t.values, tile_stride_, scaled_x_, width_,
                first ? 0.0f : 1.0f, dweight + t.begin * width_, width_);
  }
  kernels::scale_rows(rows, width_, factor_, dx, dx);
  kernels::gather_add_rows(rows, width_, -scale, weight, targets, dx);
  kernels::scatter_add_rows(rows, width_, -scale, x, targets, dweight);
}

}  // namespace rubato
