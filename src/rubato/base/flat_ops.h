// Kernels over flat buffers of floats. Sums run in double over fixed blocks added in order, so a
// result depends on the values alone: never on the number of threads, the alignment or the
// processor.
#pragma once

#include <cstdint>
#include <span>

namespace rubato {

/// Floats of a cache-sized block (16 KiB): what one pass of links and terminal rule works on while
/// it is hot.
inline constexpr int64_t kBlockFloats = 4096;

/// sum x*y, in double. x and y have the same size.
double dot(std::span<const float> x, std::span<const float> y);
/// sqrt(sum x*x), in double.
double l2_norm(std::span<const float> x);
/// No NaN and no infinity among x.
bool all_finite(std::span<const float> x);
/// y = a - b elementwise.
void subtract(std::span<const float> a, std::span<const float> b, std::span<float> y);
/// y += scale * x.
void add_scaled(float scale, std::span<const float> x, std::span<float> y);

}  // namespace rubato
