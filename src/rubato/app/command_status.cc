// rubato status DIR, rubato control DIR ACTION
#include <chrono>
#include <map>
#include <memory>
#include <ostream>
#include <thread>

#include <CLI/CLI.hpp>

#include "rubato/app/command_support.h"
#include "rubato/rpc/admin.h"
#include "rubato/rpc/status_text.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct StatusFlags {
  std::string directory;
  bool json = false, watch = false;
};

constexpr auto kGlance = std::chrono::milliseconds(100);
constexpr int kGlancesPerLook = 10;
// Home, and erase what is below.
constexpr std::string_view kClearScreen = "\x1b[H\x1b[2J";

// False when a stop was asked for meanwhile.
bool wait_a_second(const std::atomic<bool>* stop) {
  for (int i = 0; i < kGlancesPerLook; ++i) {
    if (stop != nullptr && stop->load()) return false;
    std::this_thread::sleep_for(kGlance);
  }
  return true;
}

StatusOr<int> status(const StatusFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  const std::atomic<bool>* stop =
      flags.watch && terminal.watch_interrupts ? terminal.watch_interrupts() : nullptr;
  do {
    RUBATO_ASSIGN_OR_RETURN(const v1::StatusReply reply, ask_admin(files, flags.directory, {}));
    if (flags.json) {
      terminal.out << status_json(reply) << "\n" << std::flush;
    } else {
      if (flags.watch && terminal.interactive) terminal.out << kClearScreen;
      terminal.out << status_text(reply) << std::flush;
    }
  } while (flags.watch && wait_a_second(stop));
  return kExitOk;
}

struct ControlFlags {
  std::string directory, action;
  std::vector<int64_t> workers;
};

// Until the coordinator has ended; a resume calls it off.
StatusOr<int> wait_until_drained(FileSystem& files, const std::string& directory,
                                 Terminal& terminal) {
  const std::atomic<bool>* stop = terminal.watch_interrupts ? terminal.watch_interrupts() : nullptr;
  while (wait_a_second(stop)) {
    const StatusOr<v1::StatusReply> reply = ask_admin(files, directory, {});
    if (absl::IsUnavailable(reply.status())) {
      terminal.out << "drained: the coordinator has ended\n";
      return kExitOk;
    }
    // It is there, and busy with its last snapshot.
    if (absl::IsDeadlineExceeded(reply.status())) continue;
    RUBATO_RETURN_IF_ERROR(reply.status());
    if (reply->draining()) continue;
    return absl::AbortedError("[control] got a resume meanwhile, want the drain to go on");
  }
  return kExitInterrupted;
}

StatusOr<int> control(const ControlFlags& flags, Terminal& terminal) {
  static const std::map<std::string, AdminAction> kActions = {{"pause", AdminAction::kPause},
                                                              {"resume", AdminAction::kResume},
                                                              {"drain", AdminAction::kDrain},
                                                              {"evict", AdminAction::kEvict}};
  const AdminAction action = kActions.at(flags.action);
  if ((action == AdminAction::kEvict) == flags.workers.empty()) {
    return absl::InvalidArgumentError(
        cat("[control] ", flags.action, ": got ", flags.workers.size(), " workers, want ",
            action == AdminAction::kEvict ? "one or more, as rubato status lists them" : "none"));
  }
  PosixFileSystem files;
  v1::StatusReply reply;
  if (action == AdminAction::kEvict) {
    for (const int64_t worker : flags.workers) {
      RUBATO_ASSIGN_OR_RETURN(reply, ask_admin(files, flags.directory, {action, WorkerId(worker)}));
    }
  } else {
    RUBATO_ASSIGN_OR_RETURN(reply, ask_admin(files, flags.directory, {action, WorkerId()}));
  }
  terminal.out << status_text(reply) << std::flush;
  return action == AdminAction::kDrain ? wait_until_drained(files, flags.directory, terminal)
                                       : kExitOk;
}

}  // namespace

void add_status(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<StatusFlags>();
  CLI::App* command = app.add_subcommand("status", "how a running coordinator stands");
  command->add_option("directory", flags->directory, "run directory of the coordinator")
      ->required();
  command->add_flag("--json", flags->json, "one JSON object");
  command->add_flag("--watch", flags->watch, "again every second, until Ctrl-C");
  command->footer("Example:\n  rubato status runs/demo-cluster --watch");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return status(*flags, terminal); };
  });
}

void add_control(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<ControlFlags>();
  CLI::App* command =
      app.add_subcommand("control", "pause, resume or drain a running cluster; evict a worker");
  command->add_option("directory", flags->directory, "run directory of the coordinator")
      ->required();
  command
      ->add_option("action", flags->action,
                   "pause: no new tasks; resume; drain: pause, then end when all is in; evict")
      ->required()
      ->check(CLI::IsMember({"pause", "resume", "drain", "evict"}));
  command->add_option("workers", flags->workers, "numbers of those to evict");
  command->footer(
      "Example:\n  rubato control runs/demo-cluster pause\n"
      "  rubato control runs/demo-cluster evict 3");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return control(*flags, terminal); };
  });
}

}  // namespace rubato
