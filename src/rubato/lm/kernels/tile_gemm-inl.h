// A small matrix product held in registers, for attention: C (8, n) (+)= A (8, k) * B (k, n) with n
// in whole 16-float columns. A is read one number at a time through two strides, so that the same
// code takes a matrix or its transpose; B and C are read along rows.
//   AVX-512: tiles of 8 x 32, sixteen sums in flight; AVX2 has half the registers: 8 x 8.

#if defined(RUBATO_LM_KERNELS_TILE_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RUBATO_LM_KERNELS_TILE_GEMM_INL_H_
#undef RUBATO_LM_KERNELS_TILE_GEMM_INL_H_
#else
#define RUBATO_LM_KERNELS_TILE_GEMM_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

#include "rubato/lm/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rubato::kernels::HWY_NAMESPACE {

inline constexpr int kTileRows = 8;

/// A as the product reads it: element (row, k) is data[row * row_stride + k * k_stride].
struct Factor {
  const float* data;
  int64_t row_stride;
  int64_t k_stride;
};

template <int kVectors>
HWY_INLINE void tile(Factor a, const float* HWY_RESTRICT b, int64_t b_stride, int64_t k_count,
                     float* HWY_RESTRICT c, int64_t c_stride, bool accumulate) {
  const Wide d;
  const int64_t n = lanes(d);
  hn::Vec<Wide> sums[kTileRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = accumulate ? hn::LoadU(d, c + r * c_stride + v * n) : hn::Zero(d);
  }
  const float* ak = a.data;
  for (int64_t k = 0; k < k_count; ++k, ak += a.k_stride, b += b_stride) {
    hn::Vec<Wide> row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + v * n);
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r) {
      const auto factor = hn::Set(d, ak[r * a.row_stride]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(factor, row[v], sums[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[r][v], d, c + r * c_stride + v * n);
  }
}

/// C (8, n) = A (8, k) * B (k, n), added to C when `accumulate`; n a multiple of 16.
HWY_INLINE void tile_gemm(Factor a, const float* b, int64_t b_stride, int64_t k_count,
                          int64_t n_count, float* c, int64_t c_stride, bool accumulate) {
  constexpr int kVectors = HWY_TARGET == HWY_AVX3 ? 2 : 1;
  const int64_t step = lanes(Wide());
  int64_t j = 0;
  for (; j + kVectors * step <= n_count; j += kVectors * step)
    tile<kVectors>(a, b + j, b_stride, k_count, c + j, c_stride, accumulate);
  for (; j < n_count; j += step) tile<1>(a, b + j, b_stride, k_count, c + j, c_stride, accumulate);
}

}  // namespace rubato::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
