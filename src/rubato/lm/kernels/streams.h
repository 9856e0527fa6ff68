// Kernels over the flat buffers of a step: adding lanes and their squares. A block is what one call
// gets; the engine fixes the blocks and the order in which their results are added.
#pragma once

#include <cstdint>

namespace rubato::kernels {

/// y += x.
void add_to(int64_t n, const float* x, float* y);
/// sum x^2 in double, in fixed order.
double sum_of_squares(int64_t n, const float* x);

}  // namespace rubato::kernels
