// The processes of a cluster that tests kill, stop and starve: what `rubato coordinator`, `rubato
// worker` and `rubato replay` put together, on the quadratic workload and with a trap in it.
// Each reads its words, and leaves what it did in the run's directory:
//   DIR/kills          a line for each process that killed itself: the phase
//   DIR/result         of a coordinator that ended, in facts
//   DIR/replay         of a replay, in facts
//   DIR/verdicts-N     of worker N, a line `task=T VERDICT` for each answer it has seen, synced
#pragma once

#include "tests/rpc/actors/arguments.h"

#include "rubato/base/status.h"

namespace rubato {

/// Exit code of a process whose part ended with an error.
inline constexpr int kActorFailed = 3;

/// listen; fault. Until the budget is used up, or SIGTERM. Prints `listening` once it has
/// recovered.
Status play_coordinator(const Facts& words);
/// listen, worker, token; fault, min_step_us. Until it is released.
Status play_worker(const Facts& words);
/// Of all that the journal reaches back to.
Status play_replay(const Facts& words);

/// netns, listen, directory, num_params: a coordinator whose worker trains nothing. Leaves
/// DIR/admitted, how that worker is known; until SIGTERM.
Status play_exchange_coordinator(const Facts& words);
/// The same words: pushes a delta, then fetches parameters. Leaves DIR/figures: speed, and how long
/// heartbeats took meanwhile.
Status play_exchange_worker(const Facts& words);

}  // namespace rubato
