// How much of the processor the simulator turns into local steps: the throughput of a simulated
// fleet beside one trainer that has all threads to itself and nobody to coordinate. Both make the
// same local steps on the same random text, timed in turns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/bench/engine_bench.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {

struct SimulatorRow {
  std::string name;               // of the fleet
  std::string shape;              // of the model
  int threads = 1;                // of the fleet, and of the one trainer
  double tokens_per_s = 0;        // of all local steps made, outer steps and waiting included
  double limit_tokens_per_s = 0;  // of the one trainer
  double share_of_limit = 0;      // median of the rounds
  double share_least = 0, share_most = 0;  // of the rounds
  double unused = 0;  // [1] share of the local steps begun before the end of the run and not needed
};

/// Fleets of 2 equal workers and of 8 workers of unequal speed, a row each. `seconds` of every
/// measurement, three rounds. ResourceExhausted when the memory is short.
StatusOr<std::vector<SimulatorRow>> bench_simulator(
    const EngineShape& shape, const std::shared_ptr<const InnerOptimizer>& optimizer, int threads,
    double seconds);

}  // namespace rubato
