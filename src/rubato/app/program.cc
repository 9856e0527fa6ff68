#include "rubato/app/program.h"

#include <algorithm>
#include <new>
#include <ostream>
#include <stdexcept>
#include <system_error>

#include <CLI/CLI.hpp>

#include "rubato/app/build_id.h"
#include "rubato/base/options.h"

namespace rubato {
namespace {

constexpr const char* kSummary =
    "Rubato trains language models with asynchronous Local-SGD on machines of unequal speed.";
constexpr const char* kExample =
    "Example:\n"
    "  rubato prepare novels/*.txt --out data --vocab 512\n"
    "  rubato compare recipes/demo.toml --set data.directory=data --out runs/first\n"
    "  rubato describe rule delayed_nesterov\n"
    "Exit codes: 0 done, 1 error, 2 wrong usage, 130 interrupted (`train --resume` goes on).";

// An error is one line, whatever a library put into it.
void print_error(std::ostream& err, std::string_view message) {
  std::string line(message);
  std::ranges::replace(line, '\n', ' ');
  err << "rubato: " << line << std::endl;
}

// What is thrown where memory or threads run out is an error like any other.
StatusOr<int> run_body(const CommandBody& body, Terminal& terminal) {
  try {
    return body(terminal);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "[memory] got none, want more for this model; take a smaller one or fewer workers");
  } catch (const std::length_error&) {
    return absl::ResourceExhaustedError(
        "[memory] got a size beyond any memory, want a smaller model");
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        cat("[system] ", error.what(), "; want threads or memory that the system has"));
  }
}

// `code`, unless what was printed did not get through.
int written(int code, Terminal& terminal) {
  if (terminal.out.flush()) return code;
  print_error(terminal.err, "[output] could not be written, want room behind it; is it full?");
  return kExitError;
}

}  // namespace

int run_program(std::span<const std::string> args, Terminal terminal) {
  CLI::App app(kSummary, "rubato");
  app.footer(kExample);
  app.set_version_flag(
      "--version", [] { return cat("rubato ", build_id()); }, "version and digest of this build");
  app.require_subcommand(1);
  CommandBody chosen;
  add_prepare(app, chosen);
  add_train(app, chosen);
  add_compare(app, chosen);
  add_tune(app, chosen);
  add_plan(app, chosen);
  add_coordinator(app, chosen);
  add_invite(app, chosen);
  add_workers(app, chosen);
  add_status(app, chosen);
  add_control(app, chosen);
  add_worker(app, chosen);
  add_replay(app, chosen);
  add_rollback(app, chosen);
  add_eval(app, chosen);
  add_evidence(app, chosen);
  add_sample(app, chosen);
  add_export(app, chosen);
  add_import(app, chosen);
  add_report(app, chosen);
  add_dashboard(app, chosen);
  add_describe(app, chosen);
  add_bench(app, chosen);

  // CLI11 would only say that some subcommand is missing.
  std::vector<std::string> known;
  for (const CLI::App* command : app.get_subcommands({})) known.push_back(command->get_name());
  if (!args.empty() && !args[0].starts_with('-') &&
      std::ranges::find(known, args[0]) == known.end()) {
    print_error(terminal.err,
                cat("[usage] unknown subcommand ", args[0], suggestion(args[0], known)));
    return kExitUsage;
  }

  std::vector<std::string> reversed(args.rbegin(), args.rend());  // as CLI11 takes them
  try {
    app.parse(reversed);
  } catch (const CLI::Success& asked_for) {  // --help, --version
    return written(app.exit(asked_for, terminal.out, terminal.err), terminal);
  } catch (const CLI::ParseError& error) {
    print_error(terminal.err, cat("[usage] ", error.what(), "; try rubato --help"));
    return kExitUsage;
  }
  const StatusOr<int> code = run_body(chosen, terminal);
  if (code.ok()) return written(*code, terminal);
  print_error(terminal.err,
              std::string_view(code.status().message().data(), code.status().message().size()));
  return kExitError;
}

}  // namespace rubato
