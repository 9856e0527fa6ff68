// rubato compare RECIPE
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "rubato/app/command_support.h"
#include "rubato/app/compare.h"
#include "rubato/metrics/report.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct CompareFlags : TrainingFlags {
  std::vector<std::string> methods;
  std::vector<int64_t> seeds;
  bool resume = false;
};

Status write_results(FileSystem& files, const std::string& directory, const Comparison& comparison,
                     const std::string& table) {
  RUBATO_RETURN_IF_ERROR(files.replace_file(join_path(directory, "comparison.json"),
                                            comparison_json(comparison.runs).dump(2) + "\n"));
  RUBATO_RETURN_IF_ERROR(files.replace_file(join_path(directory, "comparison.md"), table));
  return write_report(files, join_path(directory, "report.html"), "Rubato: methods compared",
                      comparison.runs);
}

StatusOr<int> compare(const CompareFlags& flags, Terminal& terminal) {
  RUBATO_ASSIGN_OR_RETURN(const Recipe recipe, load_recipe(flags));
  ComparisonPlan plan{flags.methods, flags.seeds};
  if (plan.methods.empty()) plan.methods = recipe.texts("compare.methods");
  if (plan.seeds.empty()) plan.seeds = {recipe.integer("run.seed")};

  PosixFileSystem files;
  ProgressPrinter progress(terminal.err, terminal.interactive, monotonic_now);
  RunEnvironment environment = run_environment(files, flags, terminal, &progress);
  environment.resume = flags.resume;
  RUBATO_ASSIGN_OR_RETURN(const Comparison comparison,
                          compare_methods(recipe, plan, environment,
                                          [&](const std::string& name) { progress.note(name); }));
  progress.finish();
  if (comparison.interrupted) {
    terminal.err << "rubato: interrupted; --resume continues in " << environment.directory
                 << std::endl;
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
  RUBATO_RETURN_IF_ERROR(write_results(files, environment.directory, comparison, markdown));
  terminal.out << "report: " << join_path(environment.directory, "report.html") << "\n";
  if (flags.json) terminal.out << comparison_json(comparison.runs).dump() << "\n";
  return kExitOk;
}

}  // namespace

void add_compare(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App* command = app.add_subcommand(
      "compare", "the same token budget under several methods: one table, one report");
  add_training_flags(*command, *flags);
  command->add_option("--methods", flags->methods, "a,b,c; default: the recipe's compare.methods")
      ->delimiter(',');
  command->add_option("--seeds", flags->seeds, "1,2,3; default: the recipe's seed")->delimiter(',');
  command->add_flag("--resume", flags->resume, "continue the comparison that --out holds");
  command->footer(
      "Example:\n  rubato compare recipes/demo.toml --methods sync-diloco,dn-dylu --seeds 1,2,3");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return compare(*flags, terminal); };
  });
}

}  // namespace rubato
