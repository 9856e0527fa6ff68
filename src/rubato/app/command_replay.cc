// rubato replay DIR
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/cluster_setup.h"
#include "rubato/app/command_support.h"
#include "rubato/coordinator/event_text.h"
#include "rubato/rpc/replay.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct ReplayFlags {
  std::string directory;
  int threads = 0;
  bool log = false;
};

void print(const char* what, const ReplayReport& report, std::ostream& out) {
  out << what << ": step " << report.from_step << " and " << report.records - report.first_record
      << " of " << report.records << " records\n  state   " << report.state_digest << "\n  effects "
      << report.effects_digest << "\n  params  " << report.params_digest << "\n";
}

StatusOr<int> run_replay(const ReplayFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  RUBATO_ASSIGN_OR_RETURN(const Recipe recipe, recipe_of_run(files, flags.directory));
  const int threads = thread_count(flags.threads);
  RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload built,
                          build_for_run(recipe, flags.directory, files, threads));
  RUBATO_ASSIGN_OR_RETURN(ClusterSetup setup, cluster_setup(recipe, built, files));
  setup.cluster.directory = flags.directory;
  setup.cluster.threads = threads;
  const Layout& layout = built.workload->layout();
  const auto log = [&](const LoggedEvent& event, const Effects& effects) {
    terminal.out << time_text(event.now) << "  " << event_text(event.event) << "\n"
                 << effects_text(effects);
  };
  RUBATO_ASSIGN_OR_RETURN(
      const ReplayReport whole,
      replay(files, setup.cluster, layout, ReplayFrom::kOldest,
             flags.log ? log : std::function<void(const LoggedEvent&, const Effects&)>()));
  RUBATO_ASSIGN_OR_RETURN(const ReplayReport recent,
                          replay(files, setup.cluster, layout, ReplayFrom::kNewest, nullptr));
  print("from the oldest snapshot that the journal reaches", whole, terminal.out);
  print("from the newest snapshot", recent, terminal.out);
  if (whole.state_digest != recent.state_digest || whole.records != recent.records) {
    return absl::DataLossError(
        cat("[replay] ", flags.directory, ": got state ", recent.state_digest,
            " from the newest snapshot, want ", whole.state_digest,
            ": what the journal makes; snapshot, journal or deltas are not what was written, or "
            "another build wrote them"));
  }
  terminal.out << "equal, bit for bit\n";
  return kExitOk;
}

}  // namespace

void add_replay(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<ReplayFlags>();
  CLI::App* command =
      app.add_subcommand("replay", "a cluster's journal again: does it lead to the same bits?");
  command->add_option("directory", flags->directory, "run directory of a coordinator")->required();
  command->add_option("--threads", flags->threads, "0: all cores; never changes a result")
      ->check(CLI::Range(0, 1024));
  command->add_flag("--log", flags->log, "print every event with its effects");
  command->footer(
      "Example:\n  rubato replay runs/demo-cluster\n"
      "From the beginning of the run when the coordinator had --keep-deltas, else from the newest\n"
      "snapshot.");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return run_replay(*flags, terminal); };
  });
}

}  // namespace rubato
