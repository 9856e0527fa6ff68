// A task: one dispatch, as the coordinator hands it to a worker. It names its data by ranges of the
// shard's seeded order, so it is complete without the data.
#pragma once

#include <cstdint>
#include <vector>

#include "rubato/base/ids.h"

namespace rubato {

/// Positions [first, first + count) of a shard's seeded order in one epoch.
struct DataRange {
  int64_t epoch = 0;
  int64_t first = 0;
  int64_t count = 0;    // [sequences]
  int64_t rejects = 0;  // deltas over this range that the door refused so far

  friend bool operator==(const DataRange&, const DataRange&) = default;
  template <class A>
  void archive(A& a) {
    a(epoch, first, count, rejects);
  }
};

struct Task {
  TaskId id;
  WorkerId worker;
  Version base;  // version of theta it starts from
  ShardId shard;
  std::vector<DataRange> ranges;  // steps * batch sequences in all, in the order they are consumed
  int64_t steps = 0;              // local steps, > 0
  int64_t lr_first = 0;           // t: steps assigned on the shard before this task (eq. 3)
  int64_t lr_total = 0;           // T_i: the shard's target steps
  int64_t rewarm_first =
      -1;  // steps already made in the ramp after a late join or a lost state; -1: no ramp
  Nanos dispatched = 0;
  Nanos expected_ready = 0;    // when its worker should want the next one
  Nanos expected_arrival = 0;  // of its delta; later than that only where communication overlaps

  template <class A>
  void archive(A& a) {
    a(id, worker, base, shard, ranges, steps, lr_first, lr_total, rewarm_first, dispatched,
      expected_ready, expected_arrival);
  }
};

/// The first `count` sequences of `ranges`, in order; and what is left of them.
struct SplitRanges {
  std::vector<DataRange> prefix, rest;
};
SplitRanges split_ranges(const std::vector<DataRange>& ranges, int64_t count);

}  // namespace rubato
