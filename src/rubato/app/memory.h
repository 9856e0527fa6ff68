// Whether a run fits into this machine's memory, asked before anything large is allocated.
#pragma once

#include <cstdint>

#include "rubato/sim/simulation.h"

namespace rubato {

/// [bytes] that the phase holds at its peak: theta, the chain's planes, the published version; per
/// worker its copy, the version it started from, its inner state and what its codec keeps; the
/// language model's engines.
StatusOr<int64_t> phase_bytes(const SimulationConfig& config, const Workload& workload);

/// [bytes] that a worker of a cluster holds at its peak: its copy, the version it started from, its
/// inner state, the encoding of a delta with what error feedback keeps; the language model's
/// engine.
StatusOr<int64_t> worker_bytes(const SimulationConfig& config, const Workload& workload);

/// `available` [bytes], negative when unknown. ResourceExhausted `[memory] got 3.1 GiB, want 12.4
/// GiB for ..` when it cannot fit.
Status check_memory(const SimulationConfig& config, const Workload& workload, int64_t available);

}  // namespace rubato
