#include "rubato/lm/kernels/rows.h"

#include <cmath>
#include <cstring>

#include "rubato/lm/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rubato/lm/kernels/rows.cc"
#include "hwy/foreach_target.h"

#include "rubato/lm/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rubato::kernels::HWY_NAMESPACE {

HWY_INLINE void add_scaled_row(int64_t width, float scale, const float* from, float* to) {
  map(width, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::MulAdd(hn::Set(d, scale), hn::LoadU(d, from + i), hn::LoadU(d, to + i)), d,
               to + i);
  });
}

void scatter_add_impl(int64_t rows, int64_t width, float scale, const float* values,
                      const int32_t* ids, float* table) {
  for (int64_t r = 0; r < rows; ++r)
    add_scaled_row(width, scale, values + r * width, table + ids[r] * width);
}

void gather_add_impl(int64_t rows, int64_t width, float scale, const float* table,
                     const int32_t* ids, float* out) {
  for (int64_t r = 0; r < rows; ++r)
    add_scaled_row(width, scale, table + ids[r] * width, out + r * width);
}

void rms_norm_forward_impl(int64_t rows, int64_t width, float eps, const float* x,
                           const float* weight, float* y, float* inverse_rms) {
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    const float squares = sum(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto v = hn::LoadU(d, x + i);
      return hn::Mul(v, v);
    });
    const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(width) + eps);
    inverse_rms[r] = inverse;
    map(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse));
      hn::StoreU(hn::Mul(scaled, hn::LoadU(d, weight + i)), d, y + i);
    });
  }
}

void rms_norm_backward_impl(int64_t rows, int64_t width, const float* dy, const float* x,
                            const float* weight, const float* inverse_rms, float* dx,
                            float* dweight) {
  for (int64_t r = 0; r < rows; ++r, dy += width, x += width, dx += width) {
    const float inverse = inverse_rms[r];
    const float along = sum(width, [&](auto d, int64_t i) HWY_ATTR {
      return hn::Mul(hn::Mul(hn::LoadU(d, dy + i), hn::LoadU(d, weight + i)), hn::LoadU(d, x + i));
    });
    const float pull = along * inverse * inverse * inverse / static_cast<float>(width);
    map(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto xi = hn::LoadU(d, x + i);
      const auto scaled = hn::Mul(hn::LoadU(d, dy + i), hn::Set(d, inverse));
      hn::StoreU(hn::MulAdd(scaled, xi, hn::LoadU(d, dweight + i)), d, dweight + i);
      auto out = hn::MulAdd(scaled, hn::LoadU(d, weight + i), hn::LoadU(d, dx + i));
      out = hn::NegMulAdd(xi, hn::Set(d, pull), out);
      hn::StoreU(out, d, dx + i);
    });
  }
}

void swiglu_forward_impl(int64_t rows, int64_t ffn, const float* gate_up, float* out) {
  for (int64_t r = 0; r < rows; ++r, gate_up += 2 * ffn, out += ffn) {
    map(ffn, [&](auto d, int64_t i) HWY_ATTR {
      const auto gate = hn::LoadU(d, gate_up + i);
      const auto silu = hn::Mul(gate, sigmoid_of(d, gate));
      hn::StoreU(hn::Mul(silu, hn::LoadU(d, gate_up + ffn + i)), d, out + i);
    });
  }
}

void swiglu_backward_impl(int64_t rows, int64_t ffn, const float* dout, float* gate_up) {
  for (int64_t r = 0; r < rows; ++r, gate_up += 2 * ffn, dout += ffn) {
    map(ffn, [&](auto d, int64_t i) HWY_ATTR {
      const auto gate = hn::LoadU(d, gate_up + i), up = hn::LoadU(d, gate_up + ffn + i);
      const auto dy = hn::LoadU(d, dout + i);
      const auto s = sigmoid_of(d, gate);
      const auto silu = hn::Mul(gate, s);
      // d silu / d gate = s + silu * (1 - s)
      const auto slope = hn::NegMulAdd(silu, s, hn::Add(s, silu));
      hn::StoreU(hn::Mul(hn::Mul(dy, up), slope), d, gate_up + i);
      hn::StoreU(hn::Mul(dy, silu), d, gate_up + ffn + i);
    });
  }
}

void exp_rows_impl(int64_t rows, int64_t cols, int64_t stride, float* tile, float* shift,
                   float* rescale, float* row_sum) {
  for (int64_t r = 0; r < rows; ++r, tile += stride) {
    const float top = largest(tile, cols);
    rescale[r] = 1.0f;
    if (top > shift[r] + kShiftHeadroom) {
      rescale[r] = std::exp(shift[r] - top);
      shift[r] = top;
    }
    const float by = shift[r];
    row_sum[r] = sum(cols, [&](auto d, int64_t i) HWY_ATTR {
      const auto e = exp_of(d, hn::Sub(hn::LoadU(d, tile + i), hn::Set(d, by)));
      hn::StoreU(e, d, tile + i);
      return e;
    });
  }
}

void scale_rows_impl(int64_t rows, int64_t cols, const float* factor, const float* x, float* out) {
  for (int64_t r = 0; r < rows; ++r, x += cols, out += cols) {
    map(cols, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, factor[r])), d, out + i);
    });
  }
}

}  // namespace rubato::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rubato::kernels {

HWY_EXPORT(scatter_add_impl);
HWY_EXPORT(gather_add_impl);
HWY_EXPORT(rms_norm_forward_impl);
HWY_EXPORT(rms_norm_backward_impl);
HWY_EXPORT(swiglu_forward_impl);
HWY_EXPORT(swiglu_backward_impl);
HWY_EXPORT(exp_rows_impl);
HWY_EXPORT(scale_rows_impl);

void gather_rows(int64_t rows, int64_t width, const float* table, const int32_t* ids, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(out + r * width, table + ids[r] * width,
                static_cast<size_t>(width) * sizeof(float));
  }
}

void scatter_add_rows(int64_t rows, int64_t width, float scale, const float* values,
                      const int32_t* ids, float* table) {
  HWY_DYNAMIC_DISPATCH(scatter_add_impl)(rows, width, scale, values, ids, table);
}

void gather_add_rows(int64_t rows, int64_t width, float scale, const float* table,
                     const int32_t* ids, float* out) {
  HWY_DYNAMIC_DISPATCH(gather_add_impl)(rows, width, scale, table, ids, out);
}

void rms_norm_forward(int64_t rows, int64_t width, float eps, const float* x, const float* weight,
                      float* y, float* inverse_rms) {
  HWY_DYNAMIC_DISPATCH(rms_norm_forward_impl)(rows, width, eps, x, weight, y, inverse_rms);
}

void rms_norm_backward(int64_t rows, int64_t width, const float* dy, const float* x,
                       const float* weight, const float* inverse_rms, float* dx, float* dweight) {
  HWY_DYNAMIC_DISPATCH(rms_norm_backward_impl)
  (rows, width, dy, x, weight, inverse_rms, dx, dweight);
}

void swiglu_forward(int64_t rows, int64_t ffn, const float* gate_up, float* out) {
  HWY_DYNAMIC_DISPATCH(swiglu_forward_impl)(rows, ffn, gate_up, out);
}

void swiglu_backward(int64_t rows, int64_t ffn, const float* dout, float* gate_up) {
  HWY_DYNAMIC_DISPATCH(swiglu_backward_impl)(rows, ffn, dout, gate_up);
}

void exp_rows(int64_t rows, int64_t cols, int64_t stride, float* tile, float* shift, float* rescale,
              float* row_sum) {
  HWY_DYNAMIC_DISPATCH(exp_rows_impl)(rows, cols, stride, tile, shift, rescale, row_sum);
}

void scale_rows(int64_t rows, int64_t cols, const float* factor, const float* x, float* out) {
  HWY_DYNAMIC_DISPATCH(scale_rows_impl)(rows, cols, factor, x, out);
}

}  // namespace rubato::kernels
#endif  // HWY_ONCE
