// How fast a total grows, over the last minute.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>

#include "rubato/base/ids.h"

namespace rubato {

/// Keeps about a sample a second. Not thread-safe.
class RateWindow {
 public:
  static constexpr Nanos kLength = 60 * kNanosPerSecond;

  /// The total at `now`, which never goes back. The first call begins the measurement.
  void add(Nanos now, int64_t total);
  /// [1/s] Growth over the last minute, or since the first sample; 0 before there is time to speak
  /// of.
  double per_s(Nanos now) const;

 private:
  std::deque<std::pair<Nanos, int64_t>> samples_;  // the first is the window's beginning
};

}  // namespace rubato
