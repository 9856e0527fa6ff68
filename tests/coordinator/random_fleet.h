// A fleet of workers that do everything a coordinator must survive: they join, vanish, come back,
// deliver late, twice, in part, under the wrong name or with claims that cannot be; an operator
// pauses the run; where communication overlaps they want more before their deltas are there, too
// early, twice, or not at all. Events come in the order of time, timers on time; everything follows
// from the seed.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "tests/coordinator/rig.h"

#include "rubato/base/rng.h"

namespace rubato {

/// A small random configuration: every gate, policy and sampler, buffers, thresholds, doors.
Rig random_rig(uint64_t seed);

class RandomFleet {
 public:
  RandomFleet(uint64_t seed, const CoordinatorConfig& config);

  struct Timed {
    Nanos now = 0;
    Event event;
  };
  /// What happens next; there is always something.
  Timed next();
  /// Executes the effects of the event that next() gave.
  void take(const Effects& effects);

  struct Tally {  // what was made to happen, so that a test can see that it did
    int64_t joins = 0, losses = 0, late = 0, duplicates = 0, partial = 0, corrupt = 0, strays = 0,
            wants = 0, pauses = 0;
  };
  const Tally& tally() const { return tally_; }

 private:
  struct Worker {
    Nanos ns_per_step = 1;
    Nanos down = 0, up = 0;  // how long parameters and deltas travel
    Nanos trained = 0;       // when it has made all steps it was asked for
    bool connected = false;
    std::set<TaskId> tasks;
  };
  enum Order { kArrival, kWant, kTimer, kResume };  // of one instant

  Timed disturbance(Nanos now);
  Event join(WorkerId id);
  Event lose(WorkerId id);
  Event stray();
  Event deliver(const Task& task);
  void begin(const Task& task);
  void schedule(Nanos at, Order order, int64_t id) { queue_.insert({at, order, id, serial_++}); }
  bool chance(double p) { return rng_.uniform() < p; }
  Nanos about(Nanos time) {
    return static_cast<Nanos>(rng_.below(static_cast<uint64_t>(time) + 1));
  }

  Rng rng_;
  int64_t tokens_per_sequence_;
  Overlap overlap_;
  Nanos now_ = 0;
  bool started_ = false;
  double trouble_ = 0;  // share of events that are disturbances
  Nanos tick_ = 1;      // all durations are multiples of it; large ones make ties
  int64_t serial_ = 0, last_timer_ = 0;
  std::map<WorkerId, Worker> workers_;
  std::vector<Task> tasks_;
  std::set<std::tuple<Nanos, int, int64_t, int64_t>> queue_;  // time, order, task or timer, serial
  Tally tally_;
};

}  // namespace rubato
