#include "rubato/lm/forward_weights.h"

#include <algorithm>

#include "rubato/lm/kernels/streams.h"

namespace rubato {
namespace {

// Of a weight in one piece: some hundred kilobytes at the widths that matter.
constexpr int64_t kPieceRows = 64;

}  // namespace

ForwardWeights::ForwardWeights(const ModelConfig& config, const ModelOffsets& offsets,
                               Carver& carver)
    : width_(config.width) {
  const int64_t d = config.width, f = config.ffn, q = config.heads * config.head_dim;
  const int64_t c = q + 2 * config.kv_heads * config.head_dim;
  for (const LayerOffsets& at : offsets.layers) {
    Layer layer;
    layer.qkv = add(at.qkv, c, d, carver);
    layer.out = add(at.out, d, q, carver);
    layer.gate_up = add(at.gate_up, 2 * f, d, carver);
    layer.down = add(at.down, d, f, carver);
    layers_.push_back(layer);
  }
  head_ = carver.take<float>(config.vocab * d);
  for (int64_t begin = 0; begin < config.vocab; begin += kTileColumns)
    cut(offsets.head + begin * d, std::min(kTileColumns, config.vocab - begin), d,
        head_ + begin * d);
}

// The transpose of the weight (rows, cols) at `from`.
float* ForwardWeights::add(int64_t from, int64_t rows, int64_t cols, Carver& carver) {
  float* to = carver.take<float>(rows * cols);
  cut(from, rows, cols, to);
  return to;
}

void ForwardWeights::cut(int64_t from, int64_t rows, int64_t cols, float* to) {
  for (int64_t r = 0; r < rows; r += kPieceRows) {
    pieces_.push_back({from + r * cols, std::min(kPieceRows, rows - r), cols, to + r, rows});
  }
}

void ForwardWeights::make(const float* params, int64_t piece) const {
  const Piece& p = pieces_[piece];
  kernels::transpose(p.rows, p.cols, params + p.from, p.cols, p.to, p.to_stride);
}

}  // namespace rubato
