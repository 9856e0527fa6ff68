// Element-wise kernels over rows of activations: embedding, RMSNorm, SwiGLU, rotary embedding,
// softmax tiles. Single-threaded; callers own every buffer. Rows are dense unless a stride is said.
// Legend: R rows, D width, F ffn width.
#pragma once

#include <cstdint>

namespace rubato::kernels {

/// out[r] = table[ids[r]].
void gather_rows(int64_t rows, int64_t width, const float* table, const int32_t* ids, float* out);
/// table[ids[r]] += scale * values[r], in order of r.
void scatter_add_rows(int64_t rows, int64_t width, float scale, const float* values,
                      const int32_t* ids, float* table);
/// out[r] += scale * table[ids[r]].
void gather_add_rows(int64_t rows, int64_t width, float scale, const float* table,
                     const int32_t* ids, float* out);

/// y = x / rms(x) * weight per row, rms(x) = sqrt(mean x^2 + eps); keeps 1/rms per row [R].
void rms_norm_forward(int64_t rows, int64_t width, float eps, const float* x, const float* weight,
                      float* y, float* inverse_rms);
/// dx += and dweight [D] += what dy brings.
void rms_norm_backward(int64_t rows, int64_t width, const float* dy, const float* x,
                       const float* weight, const float* inverse_rms, float* dx, float* dweight);

/// out (R, F) = silu(gate) * up with gate_up (R, 2F): gate in the first half of a row.
void swiglu_forward(int64_t rows, int64_t ffn, const float* gate_up, float* out);
/// gate_up (R, 2F) is overwritten by its own gradient.
void swiglu_backward(int64_t rows, int64_t ffn, const float* dout, float* gate_up);

/// How far above its row's shift a number may stand before the shift rises: exp(32) leaves room for
/// sums and products of many such numbers.
inline constexpr float kShiftHeadroom = 32.0f;

/// Per row of a tile with row stride `stride`: x = exp(x - shift) in place, row_sum = sum of x. A
/// row whose maximum stands above shift + kShiftHeadroom gets that maximum as its new shift first
/// and rescale = exp(old - new), else rescale = 1; from a shift of -infinity the maximum is it.
void exp_rows(int64_t rows, int64_t cols, int64_t stride, float* tile, float* shift, float* rescale,
              float* row_sum);
/// out = x, each row times its factor; dense rows, `out` may be `x`.
void scale_rows(int64_t rows, int64_t cols, const float* factor, const float* x, float* out);

}  // namespace rubato::kernels
