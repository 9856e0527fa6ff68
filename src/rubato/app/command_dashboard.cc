// rubato dashboard RUN
#include <chrono>
#include <memory>
#include <ostream>
#include <thread>

#include <CLI/CLI.hpp>

#include "rubato/app/program.h"
#include "rubato/app/served_dashboard.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct DashboardFlags {
  std::string run;
  std::string listen = "8765";
  bool is_public = false;
};

StatusOr<int> show_dashboard(const DashboardFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  if (!files.exists(flags.run)) {
    return absl::NotFoundError(cat("[dashboard] ", flags.run,
                                   ": got nothing there, want the directory of a run, or of "
                                   "several"));
  }
  const std::atomic<bool>* stop = terminal.watch_interrupts ? terminal.watch_interrupts() : nullptr;
  RUBATO_ASSIGN_OR_RETURN(const ServedDashboard served,
                          serve_dashboard(files, gallery_of(files, flags.run), flags.listen,
                                          flags.is_public, terminal.out));
  while (stop == nullptr || !stop->load())
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return kExitOk;
}

}  // namespace

void add_dashboard(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<DashboardFlags>();
  CLI::App* command =
      app.add_subcommand("dashboard", "a page about running or finished runs, alive in a browser");
  command->add_option("run", flags->run, "a run directory, shown with its siblings, or one of runs")
      ->required();
  command->add_option("--listen", flags->listen,
                      "[HOST:]PORT; without a host this machine only; port 0: any that is free");
  command->add_flag("--public", flags->is_public,
                    "another machine's address may be given: whoever reaches it reads the runs");
  command->footer("Example:\n  rubato dashboard runs/demo\nCtrl-C ends it; the runs go on.");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return show_dashboard(*flags, terminal); };
  });
}

}  // namespace rubato
