// One run of one recipe: pretraining if the recipe asks for it, then the phase its method decides,
// with records, checkpoints, interruption and resumption. A run without a directory keeps
// everything in memory; `compare` and `tune` use those too.
//
//   RUN/recipe.toml metrics.jsonl events.jsonl checkpoints/step-N/ summary.json report.html
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "rubato/app/recipe.h"
#include "rubato/metrics/progress.h"
#include "rubato/metrics/run_data.h"
#include "rubato/store/file_system.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

/// What pretrainings left, by pretraining_key: methods that share one start from the same bits.
struct Pretrained {
  std::vector<float> theta;       // [P]
  std::vector<EvalRecord> evals;  // of the pretraining
  Nanos wall_ns = 0;              // real time it took
  int64_t steps = 0;              // that were made
};
using PretrainedByKey = std::map<std::string, Pretrained>;

/// What a run works with; everything outlives it.
struct RunEnvironment {
  FileSystem* files = nullptr;
  std::string directory;    // "": nothing is written
  bool resume = false;      // continue what the directory holds
  std::string tensorboard;  // a directory for TensorBoard's event file; "": none
  std::string init;         // directory of the model that runs start from; "": none was given
  int threads = 1;
  std::string build_id;
  std::function<Nanos()> clock;             // monotonic
  const std::atomic<bool>* stop = nullptr;  // may be null
  ProgressPrinter* progress = nullptr;      // may be null
  PretrainedByKey* pretrained = nullptr;    // may be null
  int64_t available_memory_bytes = -1;      // negative: unknown
  double peak_flops_per_s = 0;              // of the threads together; 0: unknown
};

struct RunResult {
  RunData data;              // the summary stands at the budget; the log goes on to the end
  std::vector<float> theta;  // [P] at the end
  bool interrupted = false;  // stopped; a checkpoint holds everything when there is a directory
  std::string checkpoint;    // the last one written; "" without any
  /// Why training ended before the budget, in one line that names the last good checkpoint, when a
  /// loss or the parameters were no longer finite; the summary then has no loss. "" otherwise.
  std::string diverged;
};

/// Runs `recipe`, which is narrowed to one method. AlreadyExists when the directory holds a run (a
/// record or a checkpoint) and resume is off; FailedPrecondition when another process works in it,
/// or when the recipe or the data changed since (with the difference). A run that diverges is a
/// result, not an error.
StatusOr<RunResult> run_recipe(const Recipe& recipe, const Workload& workload,
                               const std::string& data_digest, const RunEnvironment& environment);

/// The recipe that a run directory holds.
StatusOr<Recipe> recipe_of_run(FileSystem& files, const std::string& directory);

}  // namespace rubato
