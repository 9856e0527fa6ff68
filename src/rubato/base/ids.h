// Strong integer types: two integers of different meaning never meet by accident.
// Each is a plain int64_t in memory, ordered, hashable through value(), and prints as its number.
#pragma once

#include <compare>
#include <cstdint>
#include <ostream>

namespace rubato {

template <class Tag>
class StrongInt {
 public:
  constexpr StrongInt() = default;
  constexpr explicit StrongInt(int64_t value) : value_(value) {}
  constexpr int64_t value() const { return value_; }
  constexpr StrongInt next() const { return StrongInt(value_ + 1); }
  friend constexpr auto operator<=>(StrongInt, StrongInt) = default;
  friend std::ostream& operator<<(std::ostream& out, StrongInt id) { return out << id.value_; }

 private:
  int64_t value_ = 0;
};

using WorkerId = StrongInt<struct WorkerTag>;  // a worker, for the whole run
using TaskId = StrongInt<struct TaskTag>;      // one dispatch, counted from 0 in order of dispatch
using Version = StrongInt<struct VersionTag>;  // outer steps that moved theta
using ShardId = StrongInt<struct ShardTag>;    // a part of the training data

/// Time and durations in integer nanoseconds; virtual in the simulator, real on a cluster.
using Nanos = int64_t;
inline constexpr Nanos kNanosPerSecond = 1'000'000'000;

/// Seconds as a double, for people and records only: nothing decides on it.
constexpr double to_seconds(Nanos t) { return static_cast<double>(t) / 1e9; }
/// Nearest nanosecond of a duration in seconds.
constexpr Nanos from_seconds(double seconds) {
  return static_cast<Nanos>(seconds * 1e9 + (seconds < 0 ? -0.5 : 0.5));
}

}  // namespace rubato
