#include "rubato/lm/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "rubato/lm/kernels/streams.h"
#include "rubato/lm/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rubato/lm/kernels/attention.cc"
#include "hwy/foreach_target.h"

#include "rubato/lm/kernels/tile_gemm-inl.h"
#include "rubato/lm/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rubato::kernels::HWY_NAMESPACE {

HWY_INLINE int64_t round_up_16(int64_t n) { return (n + 15) / 16 * 16; }

// Turns the pairs of one row: forwards (direction 1) or back (-1), times scale.
HWY_INLINE void rotate_row(int64_t half, const float* cosine, const float* sine, float direction,
                           float scale, const float* from, float* to) {
  map(half, [&](auto d, int64_t i) HWY_ATTR {
    const auto c = hn::Mul(hn::LoadU(d, cosine + i), hn::Set(d, scale));
    const auto s = hn::Mul(hn::LoadU(d, sine + i), hn::Set(d, scale * direction));
    const auto low = hn::LoadU(d, from + i), high = hn::LoadU(d, from + half + i);
    hn::StoreU(hn::NegMulAdd(high, s, hn::Mul(low, c)), d, to + i);
    hn::StoreU(hn::MulAdd(low, s, hn::Mul(high, c)), d, to + half + i);
  });
}

HWY_INLINE void copy_row(int64_t n, const float* from, float* to) {
  map(n, [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(hn::LoadU(d, from + i), d, to + i); });
}

void clear_padding(HeadShape shape, float* packed) {
  const int64_t dim = shape.padded_dim();
  if (dim > shape.head_dim) {
    for (int64_t t = 0; t < shape.positions; ++t)
      std::fill(packed + t * dim + shape.head_dim, packed + (t + 1) * dim, 0.0f);
  }
  std::fill(packed + shape.positions * dim, packed + shape.packed_floats(), 0.0f);
}

void clear_paddings(HeadShape shape, int64_t heads, float* packed) {
  for (int64_t h = 0; h < heads; ++h) clear_padding(shape, packed + h * shape.packed_floats());
}

// body(row of the wide matrix, place in a packed matrix, t) for every row and head.
template <class Body>
HWY_INLINE void for_rows(HeadShape shape, int64_t heads, int64_t stride, const Body& body) {
  for (int64_t t = 0; t < shape.positions; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      body(t * stride + h * shape.head_dim, h * shape.packed_floats() + t * shape.padded_dim(), t);
    }
  }
}

void pack_rotated_impl(HeadShape shape, int64_t heads, RopeTables rope, const float* from,
                       int64_t stride, float scale, float* packed) {
  const int64_t half = shape.head_dim / 2;
  for_rows(shape, heads, stride, [&](int64_t wide, int64_t place, int64_t t) HWY_ATTR {
    rotate_row(half, rope.cosine + t * half, rope.sine + t * half, 1.0f, scale, from + wide,
               packed + place);
  });
  clear_paddings(shape, heads, packed);
}

void unpack_rotated_impl(HeadShape shape, int64_t heads, RopeTables rope, const float* packed,
                         float scale, float* to, int64_t stride) {
  const int64_t half = shape.head_dim / 2;
  for_rows(shape, heads, stride, [&](int64_t wide, int64_t place, int64_t t) HWY_ATTR {
    rotate_row(half, rope.cosine + t * half, rope.sine + t * half, -1.0f, scale, packed + place,
               to + wide);
  });
}

void pack_rows_impl(HeadShape shape, int64_t heads, const float* from, int64_t stride,
                    float* packed) {
  for_rows(shape, heads, stride, [&](int64_t wide, int64_t place, int64_t) HWY_ATTR {
    copy_row(shape.head_dim, from + wide, packed + place);
  });
  clear_paddings(shape, heads, packed);
}

void unpack_rows_impl(HeadShape shape, int64_t heads, const float* packed, float* to,
                      int64_t stride) {
  for_rows(shape, heads, stride, [&](int64_t wide, int64_t place, int64_t) HWY_ATTR {
    copy_row(shape.head_dim, packed + place, to + wide);
  });
}

void dot_rows_impl(HeadShape shape, int64_t heads, const float* x, const float* y, int64_t stride,
                   float* dots) {
  const int64_t padded = shape.padded_positions();
  for (int64_t t = 0; t < shape.positions; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t at = t * stride + h * shape.head_dim;
      dots[h * padded + t] = sum(shape.head_dim, [&](auto d, int64_t e) HWY_ATTR {
        return hn::Mul(hn::LoadU(d, x + at + e), hn::LoadU(d, y + at + e));
      });
    }
  }
  for (int64_t h = 0; h < heads; ++h)
    std::fill(dots + h * padded + shape.positions, dots + (h + 1) * padded, 0.0f);
}

// x[0, cols) = exp(x - shift) for the first `valid` columns, 0 behind them; returns the sum.
HWY_INLINE float exp_prefix(float* x, int64_t valid, int64_t cols, float shift) {
  const Wide d;
  const int64_t step = lanes(d);
  auto total = hn::Zero(d);
  int64_t j = 0;
  for (; j + step <= valid; j += step) {
    const auto e = exp_of(d, hn::Sub(hn::LoadU(d, x + j), hn::Set(d, shift)));
    hn::StoreU(e, d, x + j);
    total = hn::Add(total, e);
  }
  for (; j < cols; j += step) {
    const auto inside = hn::FirstN(d, static_cast<size_t>(std::max<int64_t>(valid - j, 0)));
    const auto e =
        hn::IfThenElseZero(inside, exp_of(d, hn::Sub(hn::LoadU(d, x + j), hn::Set(d, shift))));
    hn::StoreU(e, d, x + j);
    total = hn::Add(total, e);
  }
  return hn::GetLane(hn::SumOfLanes(d, total));
}

void attention_forward_impl(HeadShape shape, const float* q, const float* k_transposed,
                            const float* v, float* scratch, float* out, int64_t out_stride,
                            float* log_sum_exp) {
  const int64_t dim = shape.padded_dim(), stride = shape.transposed_stride();
  float* scores = scratch;
  float* mixed = scratch + kTileRows * stride;
  for (int64_t i = 0; i < shape.positions; i += kTileRows) {
    const int64_t cols = round_up_16(i + kTileRows);
    tile_gemm({q + i * dim, dim, 1}, k_transposed, stride, shape.head_dim, cols, scores, stride,
              false);
    const int64_t rows = std::min<int64_t>(kTileRows, shape.positions - i);
    float factor[kTileRows] = {};
    for (int64_t r = 0; r < rows; ++r) {
      const float top = largest(scores + r * stride, i + r + 1);
      const float total = exp_prefix(scores + r * stride, i + r + 1, cols, top);
      log_sum_exp[i + r] = top + std::log(total);
      factor[r] = 1.0f / total;
    }
    tile_gemm({scores, stride, 1}, v, dim, i + rows, dim, mixed, dim, false);
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = mixed + r * dim;
      float* to = out + (i + r) * out_stride;
      map(shape.head_dim, [&](auto d, int64_t e) HWY_ATTR {
        hn::StoreU(hn::Mul(hn::LoadU(d, from + e), hn::Set(d, factor[r])), d, to + e);
      });
    }
  }
}

// One strip's probabilities P and score gradients dS = P * (dP - <dout, out>), and its rows of dq.
HWY_INLINE void backward_rows(HeadShape shape, const AttentionBackwardInputs& in, int64_t begin,
                              int64_t end, float* prob, float* dscore, float* dq) {
  const int64_t dim = shape.padded_dim(), stride = shape.transposed_stride();
  for (int64_t i = begin; i < end; i += kTileRows) {
    const int64_t cols = round_up_16(i + kTileRows);
    float* p = prob + (i - begin) * stride;
    float* ds = dscore + (i - begin) * stride;
    tile_gemm({in.q + i * dim, dim, 1}, in.k_transposed, stride, shape.head_dim, cols, p, stride,
              false);
    tile_gemm({in.dout + i * dim, dim, 1}, in.v_transposed, stride, shape.head_dim, cols, ds,
              stride, false);
    for (int64_t r = 0; r < kTileRows; ++r) {
      // Rows of padding have no keys.
      const int64_t valid = i + r < shape.positions ? i + r + 1 : 0;
      exp_prefix(p + r * stride, valid, cols, valid > 0 ? in.log_sum_exp[i + r] : 0.0f);
      const float pull = in.along[i + r];
      map(cols, [&](auto d, int64_t j) HWY_ATTR {
        const auto slope = hn::Sub(hn::LoadU(d, ds + r * stride + j), hn::Set(d, pull));
        hn::StoreU(hn::Mul(hn::LoadU(d, p + r * stride + j), slope), d, ds + r * stride + j);
      });
    }
    const int64_t keys = std::min(i + kTileRows, shape.positions);
    tile_gemm({ds, stride, 1}, in.k, dim, keys, dim, dq + i * dim, dim, false);
  }
}

void attention_backward_impl(HeadShape shape, const AttentionBackwardInputs& in, float* scratch,
                             float* dq, float* dk, float* dv) {
  const int64_t dim = shape.padded_dim(), stride = shape.transposed_stride();
  const int64_t padded = shape.padded_positions();
  float* prob = scratch;
  float* dscore = prob + kAttentionStripRows * stride;
  for (int64_t begin = 0; begin < padded; begin += kAttentionStripRows) {
    const int64_t end = std::min(begin + kAttentionStripRows, padded);
    backward_rows(shape, in, begin, end, prob, dscore, dq);
    for (int64_t j = 0; j < end; j += kTileRows) {
      // Queries of this strip that see keys [j, j + 8).
      const int64_t first = std::max(begin, j);
      const int64_t skipped = (first - begin) * stride + j;
      tile_gemm({prob + skipped, 1, stride}, in.dout + first * dim, dim, end - first, dim,
                dv + j * dim, dim, true);
      tile_gemm({dscore + skipped, 1, stride}, in.q + first * dim, dim, end - first, dim,
                dk + j * dim, dim, true);
    }
  }
}

}  // namespace rubato::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rubato::kernels {

HWY_EXPORT(pack_rotated_impl);
HWY_EXPORT(unpack_rotated_impl);
HWY_EXPORT(pack_rows_impl);
HWY_EXPORT(unpack_rows_impl);
HWY_EXPORT(dot_rows_impl);
HWY_EXPORT(attention_forward_impl);
HWY_EXPORT(attention_backward_impl);

void pack_rotated(HeadShape shape, int64_t heads, RopeTables rope, const float* from,
                  int64_t stride, float scale, float* packed) {
  HWY_DYNAMIC_DISPATCH(pack_rotated_impl)(shape, heads, rope, from, stride, scale, packed);
}

void unpack_rotated(HeadShape shape, int64_t heads, RopeTables rope, const float* packed,
                    float scale, float* to, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(unpack_rotated_impl)(shape, heads, rope, packed, scale, to, stride);
}

void pack_rows(HeadShape shape, int64_t heads, const float* from, int64_t stride, float* packed) {
  HWY_DYNAMIC_DISPATCH(pack_rows_impl)(shape, heads, from, stride, packed);
}

void unpack_rows(HeadShape shape, int64_t heads, const float* packed, float* to, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(unpack_rows_impl)(shape, heads, packed, to, stride);
}

void dot_rows(HeadShape shape, int64_t heads, const float* x, const float* y, int64_t stride,
              float* dots) {
  HWY_DYNAMIC_DISPATCH(dot_rows_impl)(shape, heads, x, y, stride, dots);
}

void transpose_packed(HeadShape shape, const float* packed, float* transposed) {
  transpose(shape.padded_positions(), shape.padded_dim(), packed, shape.padded_dim(), transposed,
            shape.transposed_stride());
}

int64_t attention_forward_scratch(HeadShape shape) {
  return 8 * (shape.transposed_stride() + shape.padded_dim());
}

int64_t attention_backward_scratch(HeadShape shape) {
  return 2 * kAttentionStripRows * shape.transposed_stride();
}

void attention_forward(HeadShape shape, const float* q, const float* k_transposed, const float* v,
                       float* scratch, float* out, int64_t out_stride, float* log_sum_exp) {
  HWY_DYNAMIC_DISPATCH(attention_forward_impl)
  (shape, q, k_transposed, v, scratch, out, out_stride, log_sum_exp);
}

void attention_backward(HeadShape shape, const AttentionBackwardInputs& in, float* scratch,
                        float* dq, float* dk, float* dv) {
  HWY_DYNAMIC_DISPATCH(attention_backward_impl)(shape, in, scratch, dq, dk, dv);
}

}  // namespace rubato::kernels
#endif  // HWY_ONCE
