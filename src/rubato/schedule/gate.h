// When the group of finished workers closes and gets new tasks. A gate is pure: it sees who is
// still out and decides, with a sentence why. The window opens at the first finish and does not
// slide. Source: Liu et al. 2024, Alg. 2 (grace period); ALGORITHMS: one rule for simulator and
// server.
#pragma once

#include <limits>
#include <memory>
#include <span>
#include <string_view>

#include "rubato/base/ids.h"
#include "rubato/base/registry.h"

namespace rubato {

struct GateView {
  Nanos now = 0;
  Nanos opened = 0;                     // the first finish of this window (tau_sync)
  std::span<const Nanos> expected;      // when those who are out should come, ascending
  bool timer_fired = false;             // asked by the timer that an earlier decision set
  std::span<const Nanos> arrived = {};  // under a gate that averages: when each of the group's
                                        // deltas came, in order
  Nanos shortest_task = 0;              // the shortest time that one of them was out
};

struct GateDecision {
  static constexpr Nanos kNever = std::numeric_limits<Nanos>::max();
  bool close = false;
  Nanos wait_until = kNever;  // when not closing: ask again at this time at the latest; kNever: at
                              // the next arrival
  std::string_view why;
};

/// How a closed group is folded in.
enum class GroupMode {
  kEach,           // every delta is applied when it arrives; the gate only delays the next dispatch
  kMean,           // the group's mean is applied when the gate closes, weight 1/members
  kShardWeighted,  // the same, weighted by the size of each member's shard
  kTokenWeighted   // the same, weighted by the tokens that each delta was made of
};

class Gate {
 public:
  virtual ~Gate() = default;
  virtual GroupMode group_mode() const { return GroupMode::kEach; }
  /// Whether a group is a round: everybody's deltas from one version, so that nobody starts while
  /// somebody is out and nobody's delta comes too late for its own group.
  virtual bool rounds() const { return false; }
  virtual GateDecision decide(const GateView& view) const = 0;
};

using GateEntry = Entry<StatusOr<std::unique_ptr<Gate>>(const Options&)>;

/// Every gate there is: free, grace, barrier, quorum.
std::span<const GateEntry* const> gate_entries();

}  // namespace rubato
