// What a coordinator is told when it is made, and what it tells about itself while it runs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "rubato/base/ids.h"
#include "rubato/coordinator/door.h"
#include "rubato/coordinator/overlap.h"

namespace rubato {

struct CoordinatorConfig {
  uint64_t seed = 0;
  std::vector<int64_t> shard_sequences;  // |D_i| [sequences]
  int64_t local_steps = 50;              // H
  int64_t batch_sequences = 1;           // [sequences] of one local step
  int64_t tokens_per_sequence = 1;       // [tokens]
  int64_t budget_steps = 0;              // [local steps] of all workers after which the run ends
  int64_t schedule_steps = 0;  // [local steps] of all workers that the rate schedule spans (eq. 3)
  int64_t inner_rewarm_steps = 0;           // [local steps] of a late or stateless worker's ramp
  std::optional<int64_t> max_staleness;     // from the outer chain: staler deltas are discarded
  int64_t arrivals_per_step = 1;            // from the outer chain: deltas that make one outer step
  std::optional<int64_t> save_every_steps;  // [local steps] between Save effects
  Overlap overlap = Overlap::kNone;         // unless none, a worker may have two tasks in flight
  DoorConfig door;
};

/// Progress in numbers; everything a driver shows or records.
struct CoordinatorCounts {
  int64_t steps = 0;      // local steps processed: applied or discarded
  int64_t tokens = 0;     // the same in tokens
  int64_t arrivals = 0;   // deltas processed
  int64_t discarded = 0;  // deltas too stale
  int64_t rejected = 0;   // deltas refused by the door
  int64_t lost = 0;       // workers lost with a task in flight
  int64_t version = 0;    // outer steps that moved theta

  template <class A>
  void archive(A& a) {
    a(steps, tokens, arrivals, discarded, rejected, lost, version);
  }
};

/// What the coordinator knows of a worker.
struct WorkerStanding {
  WorkerId worker;
  bool connected = false;
  std::vector<TaskId> tasks;  // in flight, in the order of dispatch
  Nanos ns_per_step = 0;      // declared, then measured; 0: unknown
};

}  // namespace rubato
