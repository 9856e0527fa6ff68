// What the commands that train have in common: reading the recipe, the flags, the clock.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rubato/app/build.h"
#include "rubato/app/program.h"
#include "rubato/app/run.h"

namespace CLI {
class Validator;
}

namespace rubato {

/// CLI::Range, in which NaN lies too, without it.
CLI::Validator number_in(double min, double max);
/// What run.seed may be.
CLI::Validator seed_range();

/// Flags of every command that trains.
struct TrainingFlags {
  std::string recipe;
  std::vector<std::string> sets;
  std::string init;  // directory of the model to start from; "": the recipe's seed
  std::string out;
  int threads = 0;  // 0: as many as the machine has
  bool json = false;
};

void add_training_flags(CLI::App& command, TrainingFlags& flags);

/// The recipe file with its --set values, and with the shape of the model that --init names.
StatusOr<Recipe> load_recipe(const TrainingFlags& flags);

/// RUNS/NAME of a recipe file NAME.toml when --out was not given, and a suffix for commands that
/// must not meet a run of `train` there.
std::string output_directory(const TrainingFlags& flags, std::string_view suffix);

int thread_count(int wanted);

/// Nanoseconds of a clock that never goes back.
Nanos monotonic_now();

/// Seconds since 1970 by the system's clock: for certificates, which end at a time of day.
int64_t unix_now_s();

/// The environment of runs of `recipe` in this process; `files`, `terminal` and `progress` outlive
/// it. For a language model it measures what the processor can do, which takes a tenth of a second.
RunEnvironment run_environment(FileSystem& files, const Recipe& recipe, const TrainingFlags& flags,
                               const Terminal& terminal, ProgressPrinter* progress,
                               std::string_view suffix = "");

/// The newest checkpoint of a run directory, or the directory itself when it is a checkpoint, with
/// the recipe of its run.
struct OpenedCheckpoint {
  Recipe recipe;
  BuiltWorkload workload;
  std::vector<float> theta;  // [P]
  std::string checkpoint;    // its directory
};
/// NotFound when there is none, FailedPrecondition when model or data do not fit the checkpoint.
StatusOr<OpenedCheckpoint> open_run(FileSystem& files, const std::string& directory,
                                    std::span<const std::string> sets, int threads);

}  // namespace rubato
