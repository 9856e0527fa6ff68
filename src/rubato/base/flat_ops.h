// Kernels over flat buffers of floats. Sums run in double over fixed blocks added in order, so a
// result depends on the values alone: never on the number of threads, the alignment or the
// processor.
#pragma once

#include <array>
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

/// Norm and finiteness of a flat buffer that comes piece by piece, in order: an upload is measured
/// while it arrives. Whatever the cuts, norm() has the bits of l2_norm of the whole.
class NormAccumulator {
 public:
  void add(std::span<const float> piece);
  double norm() const;
  /// No NaN and no infinity so far: squares of floats cannot overflow a double.
  bool finite() const;
  int64_t count() const { return count_; }  // [floats] so far

 private:
  std::array<double, 16> lanes_{};  // partial sums of the block under way
  double total_ = 0;                // of all blocks before it
  int64_t count_ = 0;
};

}  // namespace rubato
