// What happens to the coordinator and what it wants done: the whole vocabulary between the pure
// state machine and a driver. Events carry facts; effects are executed in order.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "rubato/coordinator/door.h"
#include "rubato/coordinator/task.h"

namespace rubato {

// ---- events

/// A worker connected. Before Start it waits for the start; later it gets a task as soon as the
/// gate allows.
struct WorkerJoined {
  WorkerId worker;
  Nanos ns_per_step = 0;   // declared or calibrated; <= 0: unknown until the first delta
  bool has_state = false;  // it still holds its inner state of this run
  template <class A>
  void archive(A& a) {
    a(worker, ns_per_step, has_state);
  }
};

/// A worker is gone: its lease expired or it left. Its unfinished data goes back in line.
struct WorkerLost {
  WorkerId worker;
  template <class A>
  void archive(A& a) {
    a(worker);
  }
};

/// Training begins with the workers that have joined.
struct Start {
  template <class A>
  void archive(A&) {}
};

/// A delta lies safely at the driver; these are its facts.
struct UpdateArrived {
  WorkerId worker;
  TaskId task;
  int64_t steps_done = 0;  // a prefix of the task
  int64_t tokens = 0;
  Nanos train_ns = 0;  // time spent in local steps
  double norm = 0;     // L2 norm of the delta
  bool finite = true;
  template <class A>
  void archive(A& a) {
    a(worker, task, steps_done, tokens, train_ns, norm, finite);
  }
};

/// A timer set by an effect went off.
struct TimerFired {
  int64_t timer = 0;
  template <class A>
  void archive(A& a) {
    a(timer);
  }
};

/// A worker is ready for one more task although the delta of `behind`, the last it was given, is
/// still to come: where communication overlaps with training. From now on it waits as any other
/// does; with two deltas to come it waits once the older one is there. Said twice, or about any
/// other task, it changes nothing, so it may be late, lost or repeated.
struct TaskWanted {
  WorkerId worker;
  TaskId behind;
  template <class A>
  void archive(A& a) {
    a(worker, behind);
  }
};

/// An operator holds the run or lets it go on. While it is held nobody gets a task; what is under
/// way is applied as ever, and joins, losses and wishes are taken note of.
struct Pause {
  bool on = true;
  template <class A>
  void archive(A& a) {
    a(on);
  }
};

/// The run was rolled back to this state: everybody who was here is gone, and nothing that was
/// under way will come. Its data goes back in line; a round ends with the deltas that it has.
struct RolledBack {
  template <class A>
  void archive(A&) {}
};

using Event = std::variant<WorkerJoined, WorkerLost, Start, UpdateArrived, TimerFired, TaskWanted,
                           Pause, RolledBack>;

// ---- effects

/// Fold these deltas into theta: their weighted sum is one update.
struct Apply {
  struct Member {
    TaskId task;
    double weight = 1;
    int64_t staleness = 0;  // [versions] its own; follows from its Dispatch, so no digest needs it
    template <class A>
    void archive(A& a) {
      a(task, weight);
    }
  };
  std::vector<Member> members;  // by worker id
  int64_t staleness = 0;        // [versions] of the stalest member
  int64_t tokens = 0;
  int64_t steps = 0;
  bool moves_theta = true;    // false while a buffer collects
  bool closes_group = false;  // the gate lets its group go with this delta
  template <class A>
  void archive(A& a) {
    a(members, staleness, tokens, steps, moves_theta, closes_group);
  }
};

/// The delta passed the door but is too stale for the outer rule: it counts towards the budget and
/// goes no further.
struct Discard {
  TaskId task;
  int64_t staleness = 0;
  template <class A>
  void archive(A& a) {
    a(task, staleness);
  }
};

/// The delta is refused.
struct Reject {
  WorkerId worker;
  TaskId task;
  RejectReason reason{};
  template <class A>
  void archive(A& a) {
    a(worker, task, reason);
  }
};

/// The delta was applied before; the worker may forget it.
struct AlreadyApplied {
  WorkerId worker;
  TaskId task;
  template <class A>
  void archive(A& a) {
    a(worker, task);
  }
};

struct Dispatch {
  Task task;
  template <class A>
  void archive(A& a) {
    a(task);
  }
};

struct SetTimer {
  Nanos at = 0;
  int64_t timer = 0;
  template <class A>
  void archive(A& a) {
    a(at, timer);
  }
};

/// A good moment for a snapshot: between updates.
struct Save {
  template <class A>
  void archive(A&) {}
};

/// The budget is used up; nobody is dispatched any more.
struct Finished {
  template <class A>
  void archive(A&) {}
};

using Effect =
    std::variant<Apply, Discard, Reject, AlreadyApplied, Dispatch, SetTimer, Save, Finished>;
using Effects = std::vector<Effect>;

}  // namespace rubato
