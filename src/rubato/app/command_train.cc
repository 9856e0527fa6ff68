// rubato train RECIPE
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/command_support.h"
#include "rubato/app/methods.h"
#include "rubato/app/served_dashboard.h"
#include "rubato/metrics/sink.h"
#include "rubato/metrics/table.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct TrainFlags : TrainingFlags {
  bool resume = false;
  std::string dashboard;  // where it is served; "": nowhere
  std::string tensorboard;
};

StatusOr<int> train(const TrainFlags& flags, Terminal& terminal) {
  RUBATO_ASSIGN_OR_RETURN(const Recipe base, load_recipe(flags));
  RUBATO_ASSIGN_OR_RETURN(const Recipe recipe, recipe_for_method(base, base.text("run.method")));
  RUBATO_RETURN_IF_ERROR(check_sets_have_effect(base, std::span(&recipe, 1)));
  RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload built,
                          build_workload(recipe, thread_count(flags.threads)));

  PosixFileSystem files;
  ProgressPrinter progress(terminal.err, terminal.interactive, monotonic_now);
  RunEnvironment environment = run_environment(files, recipe, flags, terminal, &progress);
  environment.resume = flags.resume;
  environment.tensorboard = flags.tensorboard;
  if (flags.resume && !files.exists(metrics_path(environment.directory))) {
    return absl::NotFoundError(
        cat("[resume] ", environment.directory,
            ": got no run there, want one to continue; check --out, or leave "
            "--resume out"));
  }
  const GalleryConfig gallery{parent_path(environment.directory), base_name(environment.directory),
                              true};
  RUBATO_ASSIGN_OR_RETURN(
      const ServedDashboard dashboard,
      serve_dashboard(files, gallery, flags.dashboard, /*is_public=*/false, terminal.err));
  RUBATO_ASSIGN_OR_RETURN(const RunResult result,
                          run_recipe(recipe, *built.workload, built.data_digest, environment));
  progress.finish();
  if (!result.diverged.empty()) return absl::AbortedError(result.diverged);

  if (result.interrupted) {
    terminal.err << "rubato: interrupted; "
                 << (result.checkpoint.empty() ? "nothing was done yet"
                                               : cat("--resume continues from ", result.checkpoint))
                 << std::endl;
    return kExitInterrupted;
  }
  terminal.out << to_plain_text(comparison_table(std::span(&result.data.summary, 1)))
               << "report: " << join_path(environment.directory, "report.html") << "\n";
  if (flags.json) terminal.out << to_line(result.data.summary) << "\n";
  return kExitOk;
}

}  // namespace

void add_train(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* command =
      app.add_subcommand("train", "a fleet of unequal workers in one process, on a virtual clock");
  add_training_flags(*command, *flags);
  command->add_option("--out", flags->out, "run directory; default runs/NAME of the recipe");
  command->add_flag("--resume", flags->resume, "continue the run that --out holds");
  add_dashboard_flag(*command, flags->dashboard);
  command->add_option("--tensorboard", flags->tensorboard,
                      "a directory for event files that TensorBoard shows");
  command->footer(
      "Example:\n  rubato train recipes/demo.toml --set run.method=dn-dylu --out runs/dn\n"
      "Ctrl-C once: the step is finished, a checkpoint written, exit code 130.");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return train(*flags, terminal); };
  });
}

}  // namespace rubato
