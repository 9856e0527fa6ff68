#include "rubato/outer/measure.h"

#include <cmath>

#include "rubato/base/multiversion.h"

namespace rubato {
namespace {

// Thirty-two partial sums in fixed order: every version of the function gives the same bits.
RUBATO_MULTIVERSION double sum_squares(const float* x, int64_t n) {
  double lanes[32] = {};
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    for (int64_t lane = 0; lane < 32; ++lane) {
      const auto value = static_cast<double>(x[i + lane]);
      lanes[lane] += value * value;
    }
  }
  for (int64_t lane = 0; i < n; ++i, ++lane) {
    lanes[lane] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

// Sixteen lanes of each of the three, as many as the registers hold.
constexpr int64_t kLanes = 16;

RUBATO_MULTIVERSION void sum_products(const float* g, const float* m, int64_t n, double* sums) {
  double gg[kLanes] = {}, gm[kLanes] = {}, mm[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const auto x = static_cast<double>(g[i + lane]), y = static_cast<double>(m[i + lane]);
      gg[lane] += x * x;
      gm[lane] += x * y;
      mm[lane] += y * y;
    }
  }
  for (int64_t lane = 0; i < n; ++i, ++lane) {
    const auto x = static_cast<double>(g[i]), y = static_cast<double>(m[i]);
    gg[lane] += x * x;
    gm[lane] += x * y;
    mm[lane] += y * y;
  }
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    sums[0] += gg[lane];
    sums[1] += gm[lane];
    sums[2] += mm[lane];
  }
}

}  // namespace

double square_sum(const float* x, int64_t n) { return sum_squares(x, n); }

DeltaMeasure::DeltaMeasure(const Pieces& pieces, const StageNeeds& needs)
    : square_sums_(needs.delta_norm ? static_cast<size_t>(pieces.size()) : 0),
      products_(needs.momentum ? static_cast<size_t>(pieces.size()) : 0),
      tensors_(needs.momentum ? static_cast<size_t>(pieces.num_tensors()) : 0) {}

void DeltaMeasure::measure(const Pieces& pieces, const DeltaSource& delta,
                           std::span<const float> momentum, ThreadPool* pool, UpdateFacts& facts) {
  if (!square_sums_.empty()) facts.delta_norm = norm_of(pieces, delta, pool);
  if (products_.empty()) return;
  measure_tensors(pieces, delta, momentum, pool);
  facts.tensors = tensors_;
}

double DeltaMeasure::norm_of(const Pieces& pieces, const DeltaSource& delta, ThreadPool* pool) {
  pieces.for_each(pool, [&](int64_t i) {
    alignas(64) float decoded[kBlockFloats];
    const auto& [tensor, offset, size] = pieces[i];
    square_sums_[static_cast<size_t>(i)] = square_sum(delta.block(offset, size, decoded), size);
  });
  double sum = 0;
  for (double of_piece : square_sums_) sum += of_piece;
  return std::sqrt(sum);
}

DeltaMeasure::Products DeltaMeasure::products_of(const float* g, const float* m, int64_t n) {
  double sums[3] = {};
  sum_products(g, m, n, sums);
  return {sums[0], sums[1], sums[2]};
}

void DeltaMeasure::measure_tensors(const Pieces& pieces, const DeltaSource& delta,
                                   std::span<const float> momentum, ThreadPool* pool) {
  pieces.for_each(pool, [&](int64_t i) {
    alignas(64) float decoded[kBlockFloats];
    const auto& [tensor, offset, size] = pieces[i];
    products_[static_cast<size_t>(i)] =
        products_of(delta.block(offset, size, decoded), momentum.data() + offset, size);
  });
  std::ranges::fill(tensors_, TensorStats{});
  for (int64_t i = 0; i < pieces.size(); ++i) {
    const Products& piece = products_[static_cast<size_t>(i)];
    TensorStats& tensor = tensors_[static_cast<size_t>(pieces[i].tensor)];
    tensor.delta_norm += piece.gg;
    tensor.dot += piece.gm;
    tensor.momentum_norm += piece.mm;
  }
  for (TensorStats& tensor : tensors_) {
    tensor.delta_norm = std::sqrt(tensor.delta_norm);
    tensor.momentum_norm = std::sqrt(tensor.momentum_norm);
  }
}

}  // namespace rubato
