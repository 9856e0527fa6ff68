// The clock of all benchmarks, and the figure they take from many measurements.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

namespace rubato {

/// [ns] of a clock that never goes back.
inline int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// [s] of the same.
inline double now_s() { return static_cast<double>(now_ns()) * 1e-9; }

/// Of at least one value.
inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace rubato
