// A worker of this program: it takes tasks as they come, trains, and sends what it learned. The
// inner state stays with it, from task to task and, on disk, from one start to the next.
//
//   next task -> fetch parameters -> local steps -> delta = start - end -> encode -> push ->
//   verdict
//
// Memory: parameters and delta in one buffer [P], the version it started from [P], the inner state,
// the encoding of one delta, the trainer's arena.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "rubato/codec/error_feedback.h"
#include "rubato/coordinator/overlap.h"
#include "rubato/rpc/attendance.h"
#include "rubato/rpc/courier.h"
#include "rubato/store/file_system.h"
#include "rubato/trainer/trainer.h"
#include "rubato/worker/task_run.h"

namespace rubato {

/// A task that is over, for people.
struct TaskReport {
  int64_t task = 0;
  int64_t steps = 0;     // [local steps] done
  int64_t tokens = 0;    // [tokens]
  double mean_loss = 0;  // [nats]
  Nanos fetch_ns = 0;    // waiting for parameters
  Nanos train_ns = 0;    // in local steps
  Nanos push_ns = 0;     // until the verdict
  std::string verdict;   // applied | discarded | rejected: REASON | given up
};

struct WorkerConfig {
  WorkerId worker;
  v1::RunDescription run;
  WorkerSettings settings;
  Overlap overlap = Overlap::kNone;
  int threads = 1;
  int64_t memory_bytes = 0;     // [bytes] that it may use; 0: unknown
  Nanos ns_per_step = 0;        // calibrated; 0: unknown
  Nanos min_step_ns = 0;        // a local step takes at least this long: a throttled worker
  std::string state_directory;  // of the inner state; "": it is not kept
};

struct WorkerServices {
  CoordinatorLink* link = nullptr;
  FileSystem* files = nullptr;
  const Workload* workload = nullptr;
  const DataMap* data = nullptr;
  WorkerEnvironment environment;
  std::function<void(const TaskReport&)> report;  // after every task
};

/// Works until the run ends, the coordinator releases the worker, or a stop is asked for: then the
/// steps that are done are handed in, and the worker leaves. An error says why it cannot go on.
Status work(const WorkerConfig& config, const WorkerServices& services);

/// [ns] of one local step on this machine, the better of two on initial parameters.
StatusOr<Nanos> calibrate_step(const Workload& workload, const WorkerSettings& settings,
                               const DataMap& data, int threads,
                               const std::function<Nanos()>& clock);

}  // namespace rubato
