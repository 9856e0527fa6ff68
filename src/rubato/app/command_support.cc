#include "rubato/app/command_support.h"

#include <chrono>
#include <cmath>
#include <thread>

#include <CLI/CLI.hpp>

#include "rubato/app/build_id.h"
#include "rubato/app/initial_parameters.h"
#include "rubato/app/run_notes.h"
#include "rubato/bench/engine_bench.h"
#include "rubato/lm/arena.h"
#include "rubato/store/checkpoint.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {

CLI::Validator number_in(double min, double max) {
  CLI::Validator range = CLI::Range(min, max);
  const auto check = [range, min, max](std::string& text) {
    double value = 0;
    const bool is_nan = CLI::detail::lexical_cast(text, value) && std::isnan(value);
    return is_nan ? cat("Value ", text, " not in range ", min, " to ", max) : range(text);
  };
  return CLI::Validator(check, range.get_description());
}

CLI::Validator seed_range() { return CLI::Range(int64_t{0}, kLargestSeed); }

void add_training_flags(CLI::App& command, TrainingFlags& flags) {
  command.add_option("recipe", flags.recipe, "TOML file, see recipes/")->required();
  command.add_option("--set", flags.sets, "key=value, over the recipe; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--init", flags.init,
                     "start from the model that `rubato import` wrote there, not by a pretraining");
  command.add_option("--threads", flags.threads, "0: all cores; never changes a result")
      ->check(CLI::Range(0, 1024));
  command.add_flag("--json", flags.json, "one JSON object as the last line");
}

StatusOr<Recipe> load_recipe(const TrainingFlags& flags) {
  RUBATO_ASSIGN_OR_RETURN(Recipe recipe,
                          Recipe::load(RecipeSchema::make(catalogue()), flags.recipe, flags.sets));
  if (flags.init.empty()) return recipe;
  PosixFileSystem files;
  return with_initial_model(files, recipe, flags.init);
}

std::string output_directory(const TrainingFlags& flags, std::string_view suffix) {
  if (!flags.out.empty()) return flags.out;
  std::string name = base_name(flags.recipe);
  if (name.ends_with(".toml")) name.resize(name.size() - 5);
  return join_path("runs", cat(name, suffix));
}

int thread_count(int wanted) {
  if (wanted > 0) return wanted;
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

Nanos monotonic_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int64_t unix_now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

RunEnvironment run_environment(FileSystem& files, const Recipe& recipe, const TrainingFlags& flags,
                               const Terminal& terminal, ProgressPrinter* progress,
                               std::string_view suffix) {
  RunEnvironment environment;
  environment.files = &files;
  environment.directory = output_directory(flags, suffix);
  environment.init = flags.init;
  environment.threads = thread_count(flags.threads);
  environment.build_id = build_id();
  environment.clock = monotonic_now;
  if (terminal.watch_interrupts) environment.stop = terminal.watch_interrupts();
  environment.progress = progress;
  environment.available_memory_bytes = available_memory_bytes();
  // Once a command, for lines in a pipe as for the live one: both show the share.
  if (recipe.text(kModelKind) == kLanguageModel) {
    environment.peak_flops_per_s = 1e9 * measure_fma_peak(environment.threads);
  }
  return environment;
}

namespace {

Status check_model_stays(const Recipe& recipe) {
  for (const auto& [key, value] : recipe.resolved()) {
    if (section_of(key) != "model" || recipe.where(key) != "--set") continue;
    return recipe.error(key,
                        "got another model, want the one that the checkpoint holds; leave it out");
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<OpenedCheckpoint> open_run(FileSystem& files, const std::string& directory,
                                    std::span<const std::string> sets, int threads) {
  std::string checkpoint = directory, run = directory;
  if (files.exists(join_path(directory, "recipe.toml"))) {
    RUBATO_ASSIGN_OR_RETURN(const auto checkpoints, list_checkpoints(files, directory));
    if (checkpoints.empty()) {
      return absl::NotFoundError(
          cat("[run] ", directory, ": got no checkpoint, want a run that has saved one"));
    }
    checkpoint = checkpoints.front();
  } else if (files.exists(join_path(directory, "manifest.json"))) {
    run = parent_path(parent_path(directory));  // RUN/checkpoints/step-N
  } else {
    return absl::NotFoundError(cat("[run] ", directory,
                                   ": got no run and no checkpoint, want a directory that `rubato "
                                   "train --out` wrote, or one below its checkpoints/"));
  }
  RUBATO_ASSIGN_OR_RETURN(const CheckpointReader reader, open_checkpoint(files, checkpoint));
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(join_path(run, "recipe.toml")));
  RUBATO_ASSIGN_OR_RETURN(Recipe recipe, Recipe::parse(RecipeSchema::make(catalogue()), text,
                                                       join_path(run, "recipe.toml"), sets));
  RUBATO_RETURN_IF_ERROR(check_model_stays(recipe));
  RUBATO_ASSIGN_OR_RETURN(BuiltWorkload workload, build_workload(recipe, threads));
  RUBATO_ASSIGN_OR_RETURN(const RunNotes notes,
                          RunNotes::from_map(checkpoint, reader.meta().notes));
  if (notes.vocabulary != workload.workload->vocabulary_digest()) {
    return absl::FailedPreconditionError(
        cat("[run] ", checkpoint, ": got a model trained with tokenizer ", notes.vocabulary,
            ", want ", workload.workload->vocabulary_digest(), " as the text in ",
            recipe.text("data.directory"), "; --set data.directory names other text"));
  }
  RUBATO_RETURN_IF_ERROR(
      check_memory(workload.workload->layout().size() * static_cast<int64_t>(sizeof(float))));
  std::vector<float> theta(static_cast<size_t>(workload.workload->layout().size()));
  RUBATO_RETURN_IF_ERROR(with_sound_checkpoint(
      files, run, checkpoint, reader.read_theta(workload.workload->layout(), theta)));
  return OpenedCheckpoint{std::move(recipe), std::move(workload), std::move(theta), checkpoint};
}

}  // namespace rubato
