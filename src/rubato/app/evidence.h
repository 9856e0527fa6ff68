// Runs what experiments plan and the book of rows lacks. Every run is `rubato train`'s own
// (run_recipe), pretrainings are shared as in a comparison, and a finished run becomes one row at
// once. Stopped or killed at any moment, the next call goes on: tuned steps and rows that are there
// are not made again, and the run that was under way continues from its last checkpoint, or starts
// again where it had none or another build began it (the bits would be a mixture).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "rubato/app/evidence_book.h"
#include "rubato/app/run.h"
#include "rubato/app/workload_cache.h"

namespace rubato {

struct EvidenceWork {
  RunEnvironment environment;  // `directory` holds runs until they are rows
  std::string processor;
  std::function<std::string()> today;  // 2026-11-25
  std::function<void(std::string_view)> say;
};

class EvidenceRunner {
 public:
  /// `book` outlives the runner.
  EvidenceRunner(EvidenceWork work, EvidenceBook& book);

  /// Tries every step that is not known yet; false when it was interrupted. Its trials are
  /// OUT/rows/NAME.json; a trial that was under way starts again.
  StatusOr<bool> tune(const TuningFile& tuning);
  /// Makes the rows that the book lacks; false when it was interrupted. `after_row` is called when
  /// one was added.
  StatusOr<bool> run(const Experiment& experiment, const TunedSteps& tuned,
                     const std::function<Status()>& after_row);
  /// Runs the recipe of a row again, in memory.
  StatusOr<RunResult> run_again(const Recipe& recipe);

 private:
  /// Both say how many runs, tokens and seconds are ahead.
  Status estimate_tuning(const TuningFile& tuning, const Recipe& base, size_t known);
  Status estimate(const Experiment& experiment, const std::vector<const PlannedRun*>& missing);
  /// Tokens a second of the training phase, by 800 local steps or so of the recipe.
  StatusOr<double> measure_rate(const Recipe& recipe, const BuiltWorkload& built);
  StatusOr<bool> run_one(const Experiment& experiment, const PlannedRun& run,
                         std::optional<double> sync_loss_nats);
  StatusOr<std::string> prepare_directory(const Experiment& experiment, const PlannedRun& run,
                                          const std::string& data_digest);

  EvidenceWork work_;
  EvidenceBook& book_;
  WorkloadCache workloads_;
  PretrainedByKey pretrained_;
};

}  // namespace rubato
