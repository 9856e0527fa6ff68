// rubato evidence FILE..
#include <algorithm>
#include <chrono>
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/command_support.h"
#include "rubato/app/evidence.h"
#include "rubato/app/evidence_check.h"
#include "rubato/app/evidence_render.h"
#include "rubato/app/processor.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct EvidenceFlags {
  std::vector<std::string> files;
  std::string out = "docs/evidence", runs = "runs/evidence";
  std::string only, check;
  bool render = false;
  int threads = 0;
};

std::string today() {
  const std::chrono::sys_days day{std::chrono::days{unix_now_s() / (24 * 3600)}};
  const std::chrono::year_month_day date{day};
  const auto two = [](unsigned number) { return cat(number < 10 ? "0" : "", number); };
  return cat(static_cast<int>(date.year()), "-", two(static_cast<unsigned>(date.month())), "-",
             two(static_cast<unsigned>(date.day())));
}

// Those that --only names, the most telling first.
StatusOr<std::vector<Experiment>> load_experiments(const EvidenceFlags& flags) {
  std::vector<Experiment> experiments;
  for (const std::string& file : flags.files) {
    RUBATO_ASSIGN_OR_RETURN(Experiment experiment, load_experiment(file));
    if (flags.only.empty() || experiment.name == flags.only) {
      experiments.push_back(std::move(experiment));
    }
  }
  if (experiments.empty()) {
    return absl::NotFoundError(
        cat("[evidence] --only: got ", flags.only, ", want one of the files"));
  }
  std::ranges::stable_sort(experiments, {}, &Experiment::order);
  return experiments;
}

class EvidenceCommand {
 public:
  EvidenceCommand(const EvidenceFlags& flags, Terminal& terminal, FileSystem& files,
                  EvidenceBook& book, EvidenceRunner& runner)
      : flags_(flags), terminal_(terminal), files_(files), book_(book), runner_(runner) {}

  StatusOr<int> run(const Experiment& experiment) {
    if (!experiment.tuning.empty()) {
      RUBATO_ASSIGN_OR_RETURN(const TuningFile tuning, load_tuning_file(experiment.tuning));
      RUBATO_ASSIGN_OR_RETURN(const bool tuned, runner_.tune(tuning));
      if (!tuned) return kExitInterrupted;
    }
    RUBATO_ASSIGN_OR_RETURN(const TunedSteps tuned, steps(experiment));
    RUBATO_ASSIGN_OR_RETURN(const bool finished,
                            runner_.run(experiment, tuned, [&] { return render(experiment); }));
    RUBATO_RETURN_IF_ERROR(render(experiment));
    return finished ? kExitOk : kExitInterrupted;
  }

  Status render(const Experiment& experiment) {
    RUBATO_RETURN_IF_ERROR(files_.make_directories(flags_.out));
    if (!experiment.tuning.empty()) {
      RUBATO_ASSIGN_OR_RETURN(const TuningFile tuning, load_tuning_file(experiment.tuning));
      const std::string path = book_.tuning_path(tuning.name);
      if (!files_.exists(path)) return absl::OkStatus();  // no row can be there either
      RUBATO_ASSIGN_OR_RETURN(const std::string text, files_.read_file(path));
      RUBATO_ASSIGN_OR_RETURN(const RenderedFile page, render_tuning(tuning, text));
      RUBATO_RETURN_IF_ERROR(files_.replace_file(join_path(flags_.out, page.name), page.text));
    }
    RUBATO_ASSIGN_OR_RETURN(const TunedSteps tuned, steps(experiment));
    RUBATO_ASSIGN_OR_RETURN(const std::vector<RenderedFile> rendered,
                            render_experiment(experiment, tuned, book_));
    for (const RenderedFile& file : rendered) {
      RUBATO_RETURN_IF_ERROR(files_.replace_file(join_path(flags_.out, file.name), file.text));
    }
    return absl::OkStatus();
  }

  StatusOr<int> check(const std::vector<Experiment>& experiments) {
    std::vector<CheckableRow> rows;
    for (const Experiment& experiment : experiments) {
      RUBATO_ASSIGN_OR_RETURN(const TunedSteps tuned, steps(experiment));
      RUBATO_ASSIGN_OR_RETURN(const std::vector<CheckableRow> own,
                              checkable_rows(experiment, tuned, book_));
      rows.insert(rows.end(), own.begin(), own.end());
    }
    RUBATO_ASSIGN_OR_RETURN(const size_t chosen, choose_row(flags_.check, rows.size()));
    RUBATO_ASSIGN_OR_RETURN(const std::string found,
                            check_row(rows[chosen], processor_name(), runner_));
    terminal_.out << "row " << chosen << " of " << rows.size() << ": " << found << "\n";
    return kExitOk;
  }

 private:
  StatusOr<TunedSteps> steps(const Experiment& experiment) {
    if (experiment.tuning.empty()) return TunedSteps();
    RUBATO_ASSIGN_OR_RETURN(const TuningFile tuning, load_tuning_file(experiment.tuning));
    const std::string path = book_.tuning_path(tuning.name);
    if (!files_.exists(path)) return TunedSteps();
    RUBATO_ASSIGN_OR_RETURN(const std::string text, files_.read_file(path));
    return tuned_steps(text);
  }

  const EvidenceFlags& flags_;
  Terminal& terminal_;
  FileSystem& files_;
  EvidenceBook& book_;
  EvidenceRunner& runner_;
};

StatusOr<int> evidence(const EvidenceFlags& flags, Terminal& terminal) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<Experiment> experiments, load_experiments(flags));
  PosixFileSystem files;
  const std::string rows = join_path(flags.out, "rows");
  DirectoryLock lock;
  if (!flags.render && flags.check.empty()) {
    RUBATO_RETURN_IF_ERROR(files.make_directories(rows));
    RUBATO_ASSIGN_OR_RETURN(lock, files.lock_directory(rows));
  }
  RUBATO_ASSIGN_OR_RETURN(EvidenceBook book, EvidenceBook::open(files, rows));
  ProgressPrinter progress(terminal.err, terminal.interactive, monotonic_now);
  EvidenceWork work;
  if (!flags.render) {
    RUBATO_ASSIGN_OR_RETURN(const Recipe base, recipe_under(experiments.front().base, {}));
    TrainingFlags training;
    training.out = flags.runs;
    training.threads = flags.threads;
    work.environment = run_environment(files, base, training, terminal, &progress);
  }
  work.processor = processor_name();
  work.today = today;
  work.say = [&](std::string_view line) { progress.note(line); };
  EvidenceRunner runner(std::move(work), book);
  EvidenceCommand command(flags, terminal, files, book, runner);
  if (!flags.check.empty()) return command.check(experiments);
  for (const Experiment& experiment : experiments) {
    if (flags.render) {
      RUBATO_RETURN_IF_ERROR(command.render(experiment));
      continue;
    }
    RUBATO_ASSIGN_OR_RETURN(const int code, command.run(experiment));
    progress.finish();
    if (code == kExitInterrupted) {
      terminal.err << "rubato: interrupted; the same command goes on" << std::endl;
      return code;
    }
  }
  terminal.out << "evidence: " << flags.out << "\n";
  return kExitOk;
}

}  // namespace

void add_evidence(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<EvidenceFlags>();
  CLI::App* command = app.add_subcommand(
      "evidence", "the rows that experiments lack, then their tables and figures");
  command->add_option("experiments", flags->files, "TOML files, see recipes/evidence/")->required();
  command->add_option("--out", flags->out, "where rows, tables and figures are")
      ->capture_default_str();
  command->add_option("--runs", flags->runs, "where runs are until they are rows")
      ->capture_default_str();
  command->add_option("--only", flags->only, "the experiment of this name");
  command->add_flag("--render", flags->render,
                    "only tables and figures of the rows that are there");
  command->add_option("--check", flags->check,
                      "runs one cheap row again and compares its bits: a row's number, or a "
                      "commit's hash that chooses one");
  command->add_option("--threads", flags->threads, "0: all cores; never changes a result")
      ->check(CLI::Range(0, 1024));
  command->footer(
      "Example:\n  rubato evidence recipes/evidence/headline.toml\n"
      "Ctrl-C at any time: the same command goes on.");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return evidence(*flags, terminal); };
  });
}

}  // namespace rubato
