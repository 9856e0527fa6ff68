// rubato report RUN...
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/program.h"
#include "rubato/metrics/report.h"
#include "rubato/metrics/sink.h"
#include "rubato/metrics/table.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct ReportFlags {
  std::vector<std::string> runs;
  std::string out;
};

// A run directory, or the directories of runs in it: what `compare` wrote.
StatusOr<std::vector<std::string>> run_directories(FileSystem& files, const std::string& path) {
  if (files.exists(metrics_path(path))) return std::vector<std::string>{path};
  std::vector<std::string> found;
  RUBATO_ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries, files.list(path));
  for (const DirectoryEntry& entry : entries) {
    const std::string inside = join_path(path, entry.name);
    if (entry.is_directory && files.exists(metrics_path(inside))) found.push_back(inside);
  }
  if (!found.empty()) return found;
  return absl::NotFoundError(
      cat("[report] ", path, ": got no metrics.jsonl, want the directory of a run"));
}

StatusOr<int> report(const ReportFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  std::vector<RunData> runs;
  std::vector<RunSummary> summaries;
  for (const std::string& path : flags.runs) {
    RUBATO_ASSIGN_OR_RETURN(const auto directories, run_directories(files, path));
    for (const std::string& directory : directories) {
      RUBATO_ASSIGN_OR_RETURN(RunData run, load_run(files, directory));
      summaries.push_back(run.summary);
      runs.push_back(std::move(run));
    }
  }
  const std::string out =
      flags.out.empty() ? join_path(flags.runs.front(), "report.html") : flags.out;
  RUBATO_RETURN_IF_ERROR(write_report(files, out, "Rubato", runs));
  terminal.out << to_plain_text(comparison_table(summaries)) << "report: " << out << "\n";
  return kExitOk;
}

}  // namespace

void add_report(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App* command =
      app.add_subcommand("report", "plots and tables of finished or running runs, one HTML file");
  command->add_option("runs", flags->runs, "run directories, or a directory of them")->required();
  command->add_option("--out", flags->out, "the file; default report.html in the first directory");
  command->footer("Example:\n  rubato report runs/demo --out demo.html");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return report(*flags, terminal); };
  });
}

}  // namespace rubato
