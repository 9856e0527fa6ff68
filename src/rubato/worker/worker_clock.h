// When a worker on the virtual clock does what: everything about a task's time follows at its
// dispatch from its length, the worker's speed and link, and what the worker has before it.
//
//   dispatch -> latency + download -> the task before it is trained -> local steps
//            -> the delta before it is sent -> latency + upload -> arrival
//
// Bytes travel one after the other in each direction; latency is on top and keeps nothing busy. A
// wish for one more task is a message without bytes: it takes the latency alone.
#pragma once

#include "rubato/coordinator/overlap.h"
#include "rubato/worker/link.h"

namespace rubato {

/// The hours of one task.
struct TaskTimes {
  Nanos dispatched = 0;
  Nanos receives = 0;  // its parameters begin to come
  Nanos received = 0;  // its parameters are there
  Nanos begins = 0;    // first local step
  Nanos ends = 0;      // local steps are done
  Nanos sends = 0;     // its delta begins to go
  Nanos arrives = 0;   // its delta is there
  Nanos asks = 0;      // its worker's wish for one more is there; `arrives` where nothing overlaps

  friend bool operator==(const TaskTimes&, const TaskTimes&) = default;
  template <class A>
  void archive(A& a) {
    a(dispatched, receives, received, begins, ends, sends, arrives, asks);
  }
};

class WorkerClock {
 public:
  WorkerClock(const Link& link, Nanos ns_per_step, Overlap overlap, const Payload& payload);

  /// The hours of a task of `steps` local steps, dispatched at `now`; later tasks queue behind it.
  TaskTimes plan(Nanos now, int64_t steps);
  /// Everything under way is given up: nothing is in the way of the next task.
  void reset() { down_free_ = steps_free_ = up_free_ = 0; }

  template <class A>
  void archive(A& a) {
    a(down_free_, steps_free_, up_free_);
  }

 private:
  Nanos latency_, ns_per_step_, download_, upload_;
  Overlap overlap_;
  Nanos down_free_ = 0, steps_free_ = 0, up_free_ = 0;  // when each is done with what it has
};

}  // namespace rubato
