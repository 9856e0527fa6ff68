// A worker's link and model that kill it in the middle of a transfer or of its training.
#pragma once

#include <memory>

#include "tests/rpc/actors/trap.h"

#include "rubato/rpc/coordinator_link.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

/// `trap` and `link` outlive it.
std::unique_ptr<CoordinatorLink> make_killing_link(Trap& trap, CoordinatorLink& link);

/// Dies in the n-th local step. `trap` and `workload` outlive it.
std::unique_ptr<Workload> make_killing_workload(Trap& trap, const Workload& workload);

}  // namespace rubato
