// Small fleets on the quadratic workload, for tests that run in milliseconds.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rubato/sim/simulation.h"
#include "rubato/trainer/quadratic.h"

namespace rubato {

/// The toy notebook's seconds per step: 0.58, 0.75, 1.51, 3.33.
std::vector<SimWorker> toy_fleet();
/// k workers of one second per step.
std::vector<SimWorker> equal_fleet(int64_t k);

/// A quadratic workload of 4 shards under plain SGD, or AdamW.
std::unique_ptr<QuadraticWorkload> quadratic_workload(const std::string& inner = "sgd",
                                                      int64_t shards = 4);

/// Four toy workers, grace 0.5 s, H = 20, DN with N = k, learning rate constant 0.05.
SimulationConfig toy_config();

inline constexpr Overlap kOverlaps[] = {Overlap::kNone, Overlap::kUpload, Overlap::kFull};

/// The toy workers on unequal links, one of them instant, one so slow that deltas queue; DyLU, 1200
/// steps.
SimulationConfig linked_config(Overlap overlap);

struct SimRun {
  std::vector<float> theta;
  RecordLog log;
  CoordinatorCounts counts;
};
/// Runs to the end from the workload's initial parameters; fails the test on an error.
SimRun run_to_end(const SimulationConfig& config, const Workload& workload);

/// All records as the lines of their files; the real clock is not in them.
std::string lines_of(const RecordLog& log);

/// |a - b| / |b|.
double relative_distance(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace rubato
