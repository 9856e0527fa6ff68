// The program behind main(): words in, text out, an exit code back, so that tests run it in the
// same process. Only this directory prints, and only to the streams it is given.
#pragma once

#include <atomic>
#include <functional>
#include <iosfwd>
#include <span>
#include <string>

#include "rubato/base/status.h"

namespace CLI {
class App;
}

namespace rubato {

enum ExitCode : int { kExitOk = 0, kExitError = 1, kExitUsage = 2, kExitInterrupted = 130 };

/// What a subcommand may use.
struct Terminal {
  std::ostream& out;               // results
  std::ostream& err;               // progress and errors
  bool interactive = false;        // err is a terminal that can redraw a line
  std::string program = "rubato";  // as it was called: for commands to copy
  /// From this call on Ctrl-C raises the flag it returns instead of ending the program, so only
  /// commands that look at the flag call it; empty: nobody presses Ctrl-C.
  std::function<const std::atomic<bool>*()> watch_interrupts = {};
};

/// The chosen subcommand: returns an exit code, or an error that becomes one line on `err`.
using CommandBody = std::function<StatusOr<int>(Terminal&)>;

/// Each adds one subcommand to `app`; choosing it stores its body in `chosen`.
void add_prepare(CLI::App& app, CommandBody& chosen);
void add_train(CLI::App& app, CommandBody& chosen);
void add_compare(CLI::App& app, CommandBody& chosen);
void add_tune(CLI::App& app, CommandBody& chosen);
void add_plan(CLI::App& app, CommandBody& chosen);
void add_coordinator(CLI::App& app, CommandBody& chosen);
void add_invite(CLI::App& app, CommandBody& chosen);
void add_workers(CLI::App& app, CommandBody& chosen);
void add_status(CLI::App& app, CommandBody& chosen);
void add_control(CLI::App& app, CommandBody& chosen);
void add_worker(CLI::App& app, CommandBody& chosen);
void add_replay(CLI::App& app, CommandBody& chosen);
void add_rollback(CLI::App& app, CommandBody& chosen);
void add_eval(CLI::App& app, CommandBody& chosen);
void add_evidence(CLI::App& app, CommandBody& chosen);
void add_sample(CLI::App& app, CommandBody& chosen);
void add_export(CLI::App& app, CommandBody& chosen);
void add_import(CLI::App& app, CommandBody& chosen);
void add_report(CLI::App& app, CommandBody& chosen);
void add_dashboard(CLI::App& app, CommandBody& chosen);
void add_describe(CLI::App& app, CommandBody& chosen);
void add_bench(CLI::App& app, CommandBody& chosen);

/// Runs `rubato ARGS..` (without the program's name).
int run_program(std::span<const std::string> args, Terminal terminal);

}  // namespace rubato
