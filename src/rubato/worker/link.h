// A worker's link to the coordinator, as the virtual clock sees it: how long bytes keep one
// direction busy, and how long after that the last of them is there.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "rubato/base/ids.h"
#include "rubato/codec/codec.h"

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

/// What travels for one task, or for one step of k x batch.
struct Payload {
  int64_t down_bytes = 0;  // parameters to the worker
  int64_t up_bytes = 0;    // a pseudo-gradient back
};

/// Of a model of `num_params`.
Payload payload_of(const Codec& up, const Codec& down, int64_t num_params);

}  // namespace rubato
