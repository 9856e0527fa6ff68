// rubato compare RECIPE
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "rubato/app/command_support.h"
#include "rubato/app/compare.h"
#include "rubato/app/methods.h"
#include "rubato/app/sample_text.h"
#include "rubato/app/served_dashboard.h"
#include "rubato/metrics/report.h"
#include "rubato/store/checkpoint.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct CompareFlags : TrainingFlags {
  std::vector<std::string> methods;
  std::vector<int64_t> seeds;
  bool resume = false;
  std::string dashboard;  // where it is served; "": nowhere
  std::string tensorboard;
};

// What a flag gives is not for --set to give as well.
Status check_flags(const Recipe& recipe, const CompareFlags& flags) {
  if (!flags.methods.empty()) {
    RUBATO_RETURN_IF_ERROR(check_not_set(recipe, "compare.methods", "--methods"));
  }
  return flags.seeds.empty() ? absl::OkStatus() : check_not_set(recipe, "run.seed", "--seeds");
}

Status write_results(FileSystem& files, const std::string& directory, const Comparison& comparison,
                     const std::string& table) {
  RUBATO_RETURN_IF_ERROR(files.replace_file(comparison_path(directory),
                                            comparison_json(comparison.runs).dump(2) + "\n"));
  RUBATO_RETURN_IF_ERROR(files.replace_file(join_path(directory, "comparison.md"), table));
  return write_report(files, join_path(directory, "report.html"), "Rubato: methods compared",
                      comparison.runs);
}

// The last run whose model can speak: a language model that did not diverge and was saved (a run
// that only took over a pretraining was not); "" when there is none.
StatusOr<std::string> speaker(FileSystem& files, const Recipe& recipe, const std::string& directory,
                              const Comparison& comparison) {
  if (recipe.text(kModelKind) != kLanguageModel) return std::string();
  for (size_t i = comparison.runs.size(); i-- > 0;) {
    if (!comparison.runs[i].summary.failure.empty()) continue;
    RUBATO_ASSIGN_OR_RETURN(const std::vector<std::string> checkpoints,
                            list_checkpoints(files, join_path(directory, comparison.names[i])));
    if (!checkpoints.empty()) return comparison.names[i];
  }
  return std::string();
}

// What that model writes, a few lines.
StatusOr<std::string> last_words(FileSystem& files, const std::string& directory,
                                 const std::string& name, int threads) {
  constexpr int64_t kTokens = 60;
  RUBATO_ASSIGN_OR_RETURN(const OpenedCheckpoint opened,
                          open_run(files, join_path(directory, name), {}, threads));
  TextRequest request;
  request.tokens = kTokens;
  RUBATO_ASSIGN_OR_RETURN(std::string text, sample_text(opened.recipe, *opened.workload.workload,
                                                        opened.theta, request));
  for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 3) {
    text.replace(at, 1, "\n  ");
  }
  return cat("\n", name, " writes:\n  ", text, "\n");
}

// What to do with the runs, as commands to copy.
std::string next_commands(const std::string& program, const std::string& directory,
                          const std::string& speaker) {
  if (speaker.empty()) return "";
  return cat("next:   ", program, " sample ", join_path(directory, speaker),
             " --prompt \"In the\"\n");
}

StatusOr<int> compare(const CompareFlags& flags, Terminal& terminal) {
  RUBATO_ASSIGN_OR_RETURN(const Recipe recipe, load_recipe(flags));
  RUBATO_RETURN_IF_ERROR(check_flags(recipe, flags));
  ComparisonPlan plan{flags.methods, flags.seeds};
  if (plan.methods.empty()) plan.methods = recipe.texts("compare.methods");
  if (plan.seeds.empty()) plan.seeds = {recipe.integer("run.seed")};

  PosixFileSystem files;
  ProgressPrinter progress(terminal.err, terminal.interactive, monotonic_now);
  RunEnvironment environment =
      run_environment(files, recipe, flags, terminal, &progress, "-compare");
  environment.resume = flags.resume;
  environment.tensorboard = flags.tensorboard;
  RUBATO_ASSIGN_OR_RETURN(const ServedDashboard dashboard,
                          serve_dashboard(files, {environment.directory, "", true}, flags.dashboard,
                                          /*is_public=*/false, terminal.err));
  RUBATO_ASSIGN_OR_RETURN(const Comparison comparison,
                          compare_methods(recipe, plan, environment,
                                          [&](const std::string& name) { progress.note(name); }));
  progress.finish();
  if (comparison.interrupted) {
    terminal.err << "rubato: interrupted; the same command with --resume continues in "
                 << environment.directory << std::endl;
    return kExitInterrupted;
  }

  std::vector<RunSummary> summaries;
  for (const RunData& run : comparison.runs) summaries.push_back(run.summary);
  const Table table = comparison_table(summaries), spread = spread_table(comparison.runs);
  std::string markdown = to_markdown(table);
  terminal.out << to_plain_text(table);
  if (!spread.rows.empty()) {
    terminal.out << "\n" << to_plain_text(spread);
    markdown += "\n" + to_markdown(spread);
  }
  for (const std::string& note : comparison.notes) {
    terminal.out << "note: " << note << "\n";
    markdown += cat("\n", note, "\n");
  }
  RUBATO_RETURN_IF_ERROR(write_results(files, environment.directory, comparison, markdown));
  const std::string& out = environment.directory;
  RUBATO_ASSIGN_OR_RETURN(const std::string who, speaker(files, recipe, out, comparison));
  if (!who.empty()) {
    RUBATO_ASSIGN_OR_RETURN(const std::string words,
                            last_words(files, out, who, environment.threads));
    terminal.out << words;
  }
  terminal.out << "\nreport: " << join_path(out, "report.html") << "\n"
               << next_commands(terminal.program, out, who);
  if (flags.json) terminal.out << comparison_json(comparison.runs).dump() << "\n";
  return kExitOk;
}

}  // namespace

void add_compare(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App* command = app.add_subcommand(
      "compare", "the same token budget under several methods: one table, one report");
  add_training_flags(*command, *flags);
  command->add_option("--out", flags->out, "a directory of runs; default runs/NAME-compare");
  command->add_option("--methods", flags->methods, "a,b,c; default: the recipe's compare.methods")
      ->delimiter(',');
  command->add_option("--seeds", flags->seeds, "1,2,3; default: the recipe's seed")
      ->delimiter(',')
      ->check(seed_range());
  command->add_flag("--resume", flags->resume, "continue the comparison that --out holds");
  add_dashboard_flag(*command, flags->dashboard);
  command->add_option("--tensorboard", flags->tensorboard,
                      "a directory for event files that TensorBoard shows");
  command->footer(
      "Example:\n  rubato compare recipes/demo.toml --methods sync-diloco,dn-dylu --seeds 1,2,3");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return compare(*flags, terminal); };
  });
}

}  // namespace rubato
