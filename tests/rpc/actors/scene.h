// The run that all processes of a test take part in: workload, machine and cluster, made from the
// words that every one of them is started with.
#pragma once

#include <memory>
#include <string>

#include "tests/rpc/actors/arguments.h"

#include "rubato/rpc/cluster.h"
#include "rubato/trainer/quadratic.h"
#include "rubato/worker/task_run.h"

namespace rubato {

struct Scene {
  std::string directory;
  std::unique_ptr<QuadraticWorkload> workload;
  ClusterConfig cluster;
  WorkerSettings worker;
};

/// directory, workers, and optionally gate, link, overlap, budget_steps, lease_ms, keep_deltas.
Scene make_scene(const Facts& words);

/// [unix s] of everything that carries a date.
inline constexpr int64_t kSceneNow = 1'900'000'000;
/// [ns] of a clock that never goes back.
Nanos steady_now();

}  // namespace rubato
