// How fast text is generated, beside what memory allows: every token reads the parameters once, so
// the limit is a sum over as many floats on the same threads, timed in turns.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/bench/engine_bench.h"

namespace rubato {

struct GenerationRow {
  std::string shape;
  int threads = 1;
  double tokens_per_s = 0;     // of the median token at the middle of the context
  double full_pass_per_s = 0;  // tokens a second when every token runs the whole prefix again
  double gb_per_s = 0;         // [1e9 bytes of parameters read per second]
  double limit_gb_per_s = 0;   // of the sum over as many floats
  double share_of_limit = 0;
};

/// A row a shape, one sequence of its sequence_length. ResourceExhausted when memory is short.
StatusOr<std::vector<GenerationRow>> bench_generation(std::span<const EngineShape> shapes,
                                                      const EngineBenchOptions& options);

}  // namespace rubato
