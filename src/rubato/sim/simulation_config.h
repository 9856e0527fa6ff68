// What a simulation is made of, and the checks and the machine that it has in common with a timing
// run of the same fleet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rubato/metrics/record.h"
#include "rubato/server/machine.h"
#include "rubato/worker/clockwork.h"
#include "rubato/worker/task_run.h"

namespace rubato {

/// Batch size and ramp of the machine are those of `worker`.
struct SimulationConfig : MachineConfig {
  std::string method = "train";
  RunPhase phase = RunPhase::kTrain;
  WorkerSettings worker;
  bool merged_data = false;  // one logical shard over all data
  std::vector<SimWorker> fleet;
  /// The real workers that the one simulated worker stands for (k x batch); empty otherwise. Each
  /// of its steps counts as one local step of each of them and takes as long as the slowest needs
  /// for its step and for exchanging gradient and parameters: make() slows it down.
  std::vector<SimWorker> stands_for;
  int threads = 1;
  std::optional<int64_t> eval_every_steps;  // [local steps]
  std::optional<int64_t> eval_at_steps;     // once more when this many are reached
};

/// What the clock needs to know of a model and its data.
struct ModelFacts {
  int64_t num_params = 0;
  std::vector<int64_t> shard_sequences;  // of each logical shard; all > 0
  int64_t tokens_per_sequence = 1;
};

struct PreparedSimulation {
  SimulationConfig config;  // with the speeds and sizes that follow from it
  Payload payload;
  Machine machine;
};

/// Checks fleet and links, slows k x batch down by its exchanges, and makes the machine, whose
/// chain is of `layout`: of the model, or empty where nobody makes an outer step. InvalidArgument
/// or NotFound in the words of whichever part objects.
StatusOr<PreparedSimulation> prepare_simulation(SimulationConfig config, const ModelFacts& model,
                                                const Layout& layout);

}  // namespace rubato
