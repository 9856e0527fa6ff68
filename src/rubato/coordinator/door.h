// The door: whether a delta may touch theta. It sees only what the driver measured on the way in. A
// peer that misbehaves is data: the answer is a verdict with a reason, never a crash.
//   norm rule: norm / sqrt(steps) within `norm_multiple` times the median of the last 64 accepted,
//   after `norm_after` arrivals; beyond it the delta is clipped to the limit or rejected.
#pragma once

#include <cstdint>
#include <deque>
#include <string_view>

namespace rubato {

enum class NormAction : uint8_t { kOff, kClip, kReject };

struct DoorConfig {
  NormAction norm_action = NormAction::kClip;
  double norm_multiple = 10;  // [1] times the median; > 1
  int64_t norm_after = 16;    // [arrivals] accepted before the rule binds
};

enum class RejectReason : uint8_t {
  kUnknownTask,   // never dispatched
  kWrongWorker,   // dispatched to somebody else
  kBadClaim,      // steps, tokens or time that cannot be
  kNotFinite,     // NaN or infinity in the delta
  kNormTooLarge,  // norm / sqrt(steps) beyond the limit
  kSuperseded,    // its data has been given to another task, or its round is over
  kFinished,      // the run's budget is used up
  kEmpty,         // no step was made: the data goes back in line
};
/// The reason in a few words.
std::string_view to_string(RejectReason reason);

class Door {
 public:
  Door() = default;
  explicit Door(const DoorConfig& config) : config_(config) {}

  struct Verdict {
    bool pass = true;
    RejectReason reason{};
    double scale = 1;  // what the delta is multiplied with; below 1 when clipped
  };
  /// Judges a delta of L2 norm `norm` made in `steps` >= 1 steps, and remembers it when it passes.
  Verdict judge(double norm, bool finite, int64_t steps);

  template <class A>
  void archive(A& a) {
    a(recent_, accepted_);
  }

 private:
  DoorConfig config_;
  std::deque<double> recent_;  // norm / sqrt(steps) of the last accepted deltas, as applied
  int64_t accepted_ = 0;
};

}  // namespace rubato
