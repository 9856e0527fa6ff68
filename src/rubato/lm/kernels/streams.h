// Kernels over the flat buffers of a step: adding lanes and their squares, transposing, rounding. A
// block is what one call gets; the engine fixes the blocks and the order in which their results are
// added.
#pragma once

#include <cstdint>

namespace rubato::kernels {

/// y += x.
void add_to(int64_t n, const float* x, float* y);
/// sum x^2 in double, in fixed order.
double sum_of_squares(int64_t n, const float* x);

/// to (cols, rows) = from (rows, cols) transposed; both with row strides.
void transpose(int64_t rows, int64_t cols, const float* from, int64_t from_stride, float* to,
               int64_t to_stride);

/// to (rows, cols), dense, = from (rows, cols) with a row stride, rounded to bf16: to nearest, ties
/// to even; NaN stays NaN.
void to_bf16(int64_t rows, int64_t cols, const float* from, int64_t from_stride, uint16_t* to);

}  // namespace rubato::kernels
