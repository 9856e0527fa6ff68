// A worker's link to the coordinator, as the virtual clock sees it: how long bytes keep one
// direction busy, and how long after that the last of them is there.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "rubato/base/ids.h"

namespace rubato {

struct Link {
  std::optional<int64_t> down_bytes_per_s = {};  // to the worker, > 0; absent: no time at all
  std::optional<int64_t> up_bytes_per_s = {};    // from the worker, > 0; absent: no time at all
  Nanos latency = 0;                             // one way, of every message
};

/// A hundredth of what the clock holds, three years: sums of a few such times stay in its range.
inline constexpr Nanos kLongestTime = std::numeric_limits<Nanos>::max() / 100;

/// [ns] that `bytes` keep a direction of `bytes_per_s` busy, rounded up; at most kLongestTime.
Nanos busy_time(int64_t bytes, std::optional<int64_t> bytes_per_s);

/// [bytes] that carry parameters [P] to a worker, and a pseudo-gradient [P] back: fp32 as it is.
int64_t params_bytes(int64_t num_params);
int64_t delta_bytes(int64_t num_params);

}  // namespace rubato
