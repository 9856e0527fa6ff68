// rubato describe [KIND [NAME]]
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "rubato/app/describe.h"
#include "rubato/app/program.h"

namespace rubato {

void add_describe(CLI::App& app, CommandBody& chosen) {
  struct Flags {
    DescribeQuery query;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "describe", "every rule, link, gate, policy, codec, method and recipe key with its options");
  command->add_option(
      "kind", flags->query.kind,
      "method, rule, link, gate, policy, sampler, inner, codec, recipe, or any name");
  command->add_option("name", flags->query.name, "one entry of that kind");
  command->add_flag("--json", flags->json, "as one JSON object");
  command->footer(
      "Example:\n  rubato describe rule delayed_nesterov\n  rubato describe recipe train");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) -> StatusOr<int> {
      if (flags->json) {
        RUBATO_ASSIGN_OR_RETURN(const nlohmann::ordered_json json, describe_json(flags->query));
        terminal.out << json.dump() << "\n";
        return kExitOk;
      }
      RUBATO_ASSIGN_OR_RETURN(const std::string text, describe_text(flags->query));
      terminal.out << text;
      return kExitOk;
    };
  });
}

}  // namespace rubato
