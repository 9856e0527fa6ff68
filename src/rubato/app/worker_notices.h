// What a worker's process logs about its own work, as notices.
#pragma once

#include "rubato/base/ids.h"
#include "rubato/rpc/notice.h"
#include "rubato/rpc/worker_program.h"

namespace rubato {

/// The event `calibrated`: how long one local step takes.
Notice calibrated_notice(Nanos ns_per_step);
/// The event `island`: of `processes` ranks, this one with `threads`.
Notice island_notice(int processes, int threads);
/// The event `task`: one that has ended, whatever became of its delta.
Notice task_notice(const TaskReport& report);

}  // namespace rubato
