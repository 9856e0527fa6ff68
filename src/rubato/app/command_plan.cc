// rubato plan RECIPE
#include <algorithm>
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "rubato/app/command_support.h"
#include "rubato/app/methods.h"
#include "rubato/app/plan.h"
#include "rubato/metrics/format.h"

namespace rubato {
namespace {

struct PlanFlags : TrainingFlags {
  std::vector<std::string> methods = {"sync-diloco", "dn-dylu"};
  std::vector<int64_t> local_steps = {10, 20, 50, 100};
  std::vector<std::string> overlaps = {"none", "upload", "full"};
  std::vector<std::string> codecs = {"fp32", "bf16", "int8/bf16", "int4/bf16"};
  std::optional<int64_t> workers, params;
  PlanLimits limits;
  int64_t rows = 20;
};

// What `flag` decides is not for --set to give as well; a key of --set is tried alone.
template <class T>
Status decide(const Recipe& recipe, const CLI::App& command, const char* flag, const char* key,
              const T& value, std::vector<T>& grid) {
  if (command.count(flag) > 0) {
    RUBATO_RETURN_IF_ERROR(check_distinct("plan", flag, grid));
    return check_not_set(recipe, key, flag);
  }
  if (recipe.where(key) == "--set") grid = {value};
  return absl::OkStatus();
}

StatusOr<PlanGrid> grid_of(const Recipe& recipe, const CLI::App& command, PlanFlags flags) {
  RUBATO_RETURN_IF_ERROR(
      decide(recipe, command, "--methods", "run.method", recipe.text("run.method"), flags.methods));
  RUBATO_RETURN_IF_ERROR(decide(recipe, command, "--h", "train.local_steps",
                                recipe.integer("train.local_steps"), flags.local_steps));
  RUBATO_RETURN_IF_ERROR(decide(recipe, command, "--overlap", "train.overlap",
                                recipe.text("train.overlap"), flags.overlaps));
  const std::string own = cat(recipe.text("codec.up"), "/", recipe.text("codec.down"));
  RUBATO_RETURN_IF_ERROR(decide(recipe, command, "--codecs", "codec.up", own, flags.codecs));
  RUBATO_RETURN_IF_ERROR(decide(recipe, command, "--codecs", "codec.down", own, flags.codecs));
  PlanGrid grid{flags.methods, flags.local_steps, flags.overlaps, {}};
  for (const std::string& text : flags.codecs) {
    RUBATO_ASSIGN_OR_RETURN(grid.codecs.emplace_back(), parse_codec_pair(text));
  }
  return grid;
}

void print(const Plan& plan, int64_t most_rows, std::ostream& out) {
  Table table = plan_table(plan);
  const auto shown = std::min<size_t>(table.rows.size(), static_cast<size_t>(most_rows));
  const size_t hidden = table.rows.size() - shown;
  table.rows.resize(shown);
  out << grouped(plan.workers) << " workers, " << grouped(plan.num_params) << " parameters, "
      << fixed(plan.ideal_tokens_per_s, 1) << " tokens/s if nobody ever waited\n\n"
      << to_plain_text(table);
  if (hidden > 0) out << "and " << hidden << " slower ones: --rows, --json\n";
  for (const std::string& note : plan.left_out) out << "left out: " << note << "\n";
  out << "\nrecommended: " << plan_keys(plan.rows[plan.recommended]) << ": " << plan.reason << "\n";
}

StatusOr<int> plan(const PlanFlags& flags, const CLI::App& command, Terminal& terminal) {
  RUBATO_ASSIGN_OR_RETURN(Recipe recipe, load_recipe(flags));
  RUBATO_ASSIGN_OR_RETURN(const PlanGrid grid, grid_of(recipe, command, flags));
  RUBATO_ASSIGN_OR_RETURN(const ModelFacts model, model_facts(recipe, flags.params));
  const int64_t given = std::ssize(recipe.reals("fleet.seconds_per_step"));
  if (given == 0)
    return recipe.error("fleet.seconds_per_step", "got no workers, want one number a worker");
  RUBATO_ASSIGN_OR_RETURN(recipe, with_workers(recipe, flags.workers.value_or(given)));
  RUBATO_ASSIGN_OR_RETURN(const Plan made, make_plan(recipe, grid, flags.limits, model));
  print(made, flags.rows, terminal.out);
  if (flags.json) terminal.out << plan_json(made).dump() << "\n";
  return kExitOk;
}

void add_flags(CLI::App& command, PlanFlags& flags) {
  command.add_option("recipe", flags.recipe, "TOML file: fleet, links, model; see recipes/")
      ->required();
  command.add_option("--set", flags.sets, "key=value, over the recipe; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option("--methods", flags.methods,
                  "that may be recommended, those that are preferred first")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--h", flags.local_steps, "local steps of a task, H")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000}))
      ->capture_default_str();
  command.add_option("--overlap", flags.overlaps, "those that are preferred first")
      ->delimiter(',')
      ->check(CLI::IsMember({"none", "upload", "full"}))
      ->capture_default_str();
  command.add_option("--codecs", flags.codecs, "UP/DOWN, those that are preferred first")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--workers", flags.workers, "the recipe's fleet repeated to so many")
      ->check(CLI::Range(int64_t{1}, int64_t{100'000}));
  command.add_option("--params", flags.params, "of the model; default: what the recipe's has")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000'000'000}));
  command.add_option("--max-mean-staleness", flags.limits.staleness_mean, "of a recommended row")
      ->check(number_in(0, 1e9));
  command.add_option("--max-staleness", flags.limits.staleness_most, "of any of its updates")
      ->check(CLI::Range(int64_t{0}, int64_t{1'000'000'000}));
  command.add_option("--max-gb-per-day", flags.limits.gb_per_day, "up and down, of all workers")
      ->check(number_in(0, 1e12));
  command
      .add_option("--tolerance", flags.limits.tolerance,
                  "share of the least time that is not worth a change of the training")
      ->check(number_in(0, 10))
      ->capture_default_str();
  command.add_option("--rows", flags.rows, "of the table")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000}))
      ->capture_default_str();
  command.add_flag("--json", flags.json, "one JSON object as the last line, with every row");
}

}  // namespace

void add_plan(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<PlanFlags>();
  CLI::App* command = app.add_subcommand(
      "plan", "which method, H, overlap and codec for this fleet and these links, by its timing");
  add_flags(*command, *flags);
  command->footer(
      "Example:\n  rubato plan recipes/paper-20m.toml --set fleet.up_bytes_per_s=[12.5e6] "
      "--max-mean-staleness 8");
  command->callback([flags, command, &chosen] {
    chosen = [flags, command](Terminal& terminal) { return plan(*flags, *command, terminal); };
  });
}

}  // namespace rubato
