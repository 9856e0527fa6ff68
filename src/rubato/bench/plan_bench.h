// How fast `rubato plan` turns its clock: dispatches a second through the coordinator's state
// machine, beside the same fleet's clockwork with nobody to decide anything: the event queue and
// the workers' hours alone. One core; timed in turns.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

struct PlanBenchRow {
  std::string name;  // of the fleet and the method
  int64_t workers = 0;
  double dispatches_per_s = 0;        // the fastest round
  double limit_dispatches_per_s = 0;  // likewise
  double share_of_limit = 0;          // median of the rounds
};

/// Fleets of 4 to 10,000 workers of unequal speed on slow links, asynchronous and in rounds.
/// `seconds` of every measurement.
StatusOr<std::vector<PlanBenchRow>> bench_plan(double seconds);

}  // namespace rubato
