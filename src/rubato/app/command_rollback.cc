// rubato rollback DIR [--to STEP]
#include <limits>
#include <memory>
#include <optional>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/cluster_setup.h"
#include "rubato/app/command_support.h"
#include "rubato/app/run_notes.h"
#include "rubato/metrics/format.h"
#include "rubato/metrics/sink.h"
#include "rubato/rpc/rollback.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct RollbackFlags {
  std::string directory;
  std::optional<int64_t> step;
  int threads = 0;
};

// ---- the list

// The last evaluation of the training at or before `step`, or null.
const EvalRecord* evaluation_at(const RecordLog& log, int64_t step) {
  const EvalRecord* found = nullptr;
  for (const EvalRecord& eval : log.evals) {
    if (eval.phase == RunPhase::kTrain && eval.local_steps <= step) found = &eval;
  }
  return found;
}

StatusOr<int> list(FileSystem& files, const std::string& directory, Terminal& terminal) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<std::string> snapshots,
                          list_checkpoints(files, directory));
  if (snapshots.empty()) {
    return absl::NotFoundError(
        cat("[rollback] ", directory, ": got no snapshot, want a run of `rubato coordinator`"));
  }
  RecordLog log;
  if (const std::string path = metrics_path(directory); files.exists(path)) {
    RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
    RUBATO_RETURN_IF_ERROR(read_records(path, text, log));
  }
  for (const std::string& snapshot : snapshots) {
    const int64_t step = checkpoint_step(base_name(snapshot));
    const EvalRecord* eval = evaluation_at(log, step);
    terminal.out << "step " << step << "  "
                 << (eval == nullptr
                         ? std::string("no evaluation yet")
                         : cat("loss ", fixed(eval->loss_nats, 4), " at step ", eval->local_steps))
                 << "\n";
  }
  terminal.out << "rubato rollback " << directory << " --to STEP goes back to one of them\n";
  return kExitOk;
}

// ---- the rollback

// What a resume from that snapshot would cut the records to; DataLoss when they are shorter.
StatusOr<JsonlOffset> records_at(FileSystem& files, const std::string& directory, int64_t step) {
  const std::string snapshot = checkpoint_path(directory, step);
  RUBATO_ASSIGN_OR_RETURN(const CheckpointReader reader, open_checkpoint(files, snapshot));
  RUBATO_ASSIGN_OR_RETURN(const RunNotes notes, RunNotes::from_map(snapshot, reader.meta().notes));
  for (const auto& [path, want] : {std::pair(metrics_path(directory), notes.offset.metrics_bytes),
                                   {events_path(directory), notes.offset.events_bytes}}) {
    RUBATO_ASSIGN_OR_RETURN(const int64_t bytes, files.file_size(path));
    if (bytes >= want) continue;
    return absl::DataLossError(cat("[rollback] ", path, ": got ", bytes, " bytes, want at least ",
                                   want, ", which the snapshot of step ", step, " noted"));
  }
  return notes.offset;
}

// Nothing that anybody reads of the run tells of the history that is gone.
Status cut_records(FileSystem& files, const std::string& directory, const JsonlOffset& offset) {
  RUBATO_ASSIGN_OR_RETURN(JsonlSink sink, JsonlSink::open(files, directory));
  RUBATO_RETURN_IF_ERROR(sink.truncate_to(offset));
  RUBATO_RETURN_IF_ERROR(files.remove_file(summary_path(directory)));
  return files.remove_file(join_path(directory, "report.html"));
}

StatusOr<int> roll_back_run(FileSystem& files, const RollbackFlags& flags, Terminal& terminal) {
  const std::string& directory = flags.directory;
  RUBATO_ASSIGN_OR_RETURN(const Recipe recipe, recipe_of_run(files, directory));
  const int threads = thread_count(flags.threads);
  RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload built,
                          build_for_run(recipe, directory, files, threads));
  RUBATO_ASSIGN_OR_RETURN(ClusterSetup setup, cluster_setup(recipe, built, files));
  setup.cluster.directory = directory;
  setup.cluster.threads = threads;
  const StatusOr<JsonlOffset> offset = records_at(files, directory, *flags.step);
  // Of a snapshot that is not there roll_back() says more.
  if (!offset.ok() && !absl::IsNotFound(offset.status())) return offset.status();
  RUBATO_ASSIGN_OR_RETURN(const RollbackReport report,
                          roll_back(files, setup.cluster, built.workload->layout(), *flags.step));
  RUBATO_RETURN_IF_ERROR(offset.status());
  RUBATO_RETURN_IF_ERROR(cut_records(files, directory, *offset));
  terminal.out << "rolled back to step " << report.step << ", version " << report.version
               << "; the run is incarnation " << report.incarnation << " now\n  state "
               << report.state_digest << "\nrubato coordinator goes on from there\n";
  return kExitOk;
}

}  // namespace

void add_rollback(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<RollbackFlags>();
  CLI::App* command =
      app.add_subcommand("rollback", "a stopped cluster back to a snapshot, for good");
  command->add_option("directory", flags->directory, "run directory of a coordinator")->required();
  command
      ->add_option("--to", flags->step, "local steps of the snapshot; without it: which there are")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
  command->add_option("--threads", flags->threads, "0: all cores; never changes a result")
      ->check(CLI::Range(0, 1024));
  command->footer(
      "Example:\n  rubato rollback runs/demo-cluster\n"
      "  rubato rollback runs/demo-cluster --to 1200\n"
      "What came behind the snapshot is removed: copy what you want to keep first.");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) -> StatusOr<int> {
      PosixFileSystem files;
      return flags->step ? roll_back_run(files, *flags, terminal)
                         : list(files, flags->directory, terminal);
    };
  });
}

}  // namespace rubato
