// rubato tune RECIPE
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "rubato/app/command_support.h"
#include "rubato/app/methods.h"
#include "rubato/app/tune.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct TuneFlags : TrainingFlags {
  std::vector<std::string> methods;
  std::vector<double> grid;
  int64_t seed = 1000;
  bool resume = false;
};

// The rows of an earlier call.
StatusOr<nlohmann::ordered_json> rows_before(FileSystem& files, const std::string& path,
                                             bool resume) {
  if (!files.exists(path)) return nlohmann::ordered_json::array();
  if (!resume) {
    return absl::AlreadyExistsError(cat("[tune] ", path,
                                        ": got a tuning, want a new directory; --resume continues "
                                        "it, --out names another"));
  }
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  return tuning_rows(path, text);
}

// What a flag gives is not for --set to give as well; the seed is the flag's always.
Status check_flags(const Recipe& recipe, const TuneFlags& flags) {
  RUBATO_RETURN_IF_ERROR(check_not_set(recipe, "run.seed", "--seed"));
  if (!flags.methods.empty()) {
    RUBATO_RETURN_IF_ERROR(check_not_set(recipe, "compare.methods", "--methods"));
  }
  if (flags.grid.empty()) return absl::OkStatus();
  RUBATO_RETURN_IF_ERROR(check_not_set(recipe, "tune.grid", "--grid"));
  return check_not_set(recipe, "tune.factors", "--grid");
}

// Those of the comparison that have a step to tune.
std::vector<std::string> tunable_methods(const Recipe& recipe) {
  std::vector<std::string> names;
  for (const std::string& name : recipe.texts("compare.methods")) {
    const StatusOr<const Method*> method = find_method(name);
    if (method.ok() && !(*method)->tuned_key.empty()) names.push_back(name);
  }
  return names;
}

StatusOr<int> tune(const TuneFlags& flags, Terminal& terminal) {
  RUBATO_ASSIGN_OR_RETURN(const Recipe recipe, load_recipe(flags));
  RUBATO_RETURN_IF_ERROR(check_flags(recipe, flags));
  PosixFileSystem files;
  ProgressPrinter progress(terminal.err, terminal.interactive, monotonic_now);
  const RunEnvironment environment =
      run_environment(files, recipe, flags, terminal, &progress, "-tune");
  const std::string& out = environment.directory;
  const std::string path = join_path(out, "tuning.json");
  TuningPlan plan{.methods = flags.methods, .grid = flags.grid, .seed = flags.seed};
  if (plan.methods.empty()) plan.methods = tunable_methods(recipe);
  if (flags.resume && !files.exists(path)) {
    return absl::NotFoundError(cat("[resume] ", out,
                                   ": got no tuning there, want one to continue; check --out, or "
                                   "leave --resume out"));
  }
  RUBATO_RETURN_IF_ERROR(files.make_directories(out));
  RUBATO_ASSIGN_OR_RETURN(const DirectoryLock lock, files.lock_directory(out));
  RUBATO_ASSIGN_OR_RETURN(const nlohmann::ordered_json before,
                          rows_before(files, path, flags.resume));
  plan.known = known_losses(before);
  const auto keep = [&](const Tuning& so_far) {
    return files.replace_file(path, tuning_json(so_far, before).dump(2) + "\n");
  };
  RUBATO_ASSIGN_OR_RETURN(const Tuning tuning,
                          tune_methods(
                              recipe, plan, environment,
                              [&](const std::string& trial) { progress.note(trial); }, keep));
  progress.finish();
  if (tuning.interrupted) {
    RUBATO_RETURN_IF_ERROR(keep(tuning));  // --resume wants a tuning, be it one without a trial
    terminal.err << "rubato: interrupted; --resume continues in " << out << std::endl;
    return kExitInterrupted;
  }
  RUBATO_ASSIGN_OR_RETURN(const Recipe tuned, tuned_recipe(recipe, tuning));
  RUBATO_RETURN_IF_ERROR(keep(tuning));
  RUBATO_RETURN_IF_ERROR(files.replace_file(join_path(out, "tuned.toml"), tuned.to_toml()));
  terminal.out << to_plain_text(tuning_table(tuning))
               << "tuned recipe: " << join_path(out, "tuned.toml") << "\n";
  if (flags.json) terminal.out << tuning_json(tuning).dump() << "\n";
  return kExitOk;
}

}  // namespace

void add_tune(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<TuneFlags>();
  CLI::App* command = app.add_subcommand("tune", "the step of each method, by a grid");
  add_training_flags(*command, *flags);
  command->add_option("--out", flags->out, "directory; default runs/NAME-tune");
  command->add_option("--methods", flags->methods, "a,b,c; default: those of compare.methods")
      ->delimiter(',');
  command
      ->add_option(
          "--grid", flags->grid,
          "0.1,0.3,0.7; factors for k-batch; default: the recipe's tune.grid, tune.factors")
      ->delimiter(',');
  command->add_flag("--resume", flags->resume, "run only the trials that --out does not hold yet");
  command->add_option("--seed", flags->seed, "run.seed of the trials")
      ->capture_default_str()
      ->check(seed_range());
  command->footer(
      "Example:\n  rubato tune recipes/demo.toml --methods dn-dylu --grid 0.3,0.7 --seed 1000");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return tune(*flags, terminal); };
  });
}

}  // namespace rubato
