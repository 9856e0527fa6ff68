// How fast outer rules fold in a pseudo-gradient, beside what memory allows: the limit is an
// in-place kernel that reads and writes the same number of arrays of the same size, on the same
// threads, timed in turns with the rule.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rubato/base/parallel.h"
#include "rubato/base/status.h"

namespace rubato {

struct OuterBenchRow {
  std::string name;           // the rule, or `link > sgd`, and options that are not the default
  double gb_per_s = 0;        // [1e9 bytes of pseudo-gradient per second], mean over a whole cycle
  double limit_gb_per_s = 0;  // the same for the in-place kernel
  double share_of_limit = 0;  // gb_per_s / limit_gb_per_s
};

/// One row for every registered rule, links in front of sgd, for 4 workers and P = `num_params`
/// >= 1. A rule whose arrivals differ (delayed_nesterov, buffer) is timed over a whole period. Each
/// figure is the best of `repeats` >= 1. Takes up to 36 bytes of memory per parameter; about 6 s
/// with P = 34e6 and 5 repeats on two threads.
StatusOr<std::vector<OuterBenchRow>> bench_outer(int64_t num_params, int repeats, ThreadPool& pool);

}  // namespace rubato
