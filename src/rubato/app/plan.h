// Which method, H, overlap and codec for this fleet and these links: every cell of a grid is timed
// by the machine that would run it (sim/timing_run.h), and one of them is recommended. It knows
// time, staleness and bytes; what they do to the loss is for experiments to say, so of what costs
// the same time it takes what changes training least.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "rubato/app/recipe.h"
#include "rubato/metrics/table.h"
#include "rubato/sim/timing_run.h"

namespace rubato {

/// What is tried: every combination. The first values are those that are preferred.
struct PlanGrid {
  std::vector<std::string> methods;
  std::vector<int64_t> local_steps;  // H
  std::vector<std::string> overlaps;
  struct CodecPair {
    std::string up, down;
    friend bool operator==(const CodecPair&, const CodecPair&) = default;
  };
  std::vector<CodecPair> codecs;
};

/// `UP/DOWN`, or the one name of both. InvalidArgument `[plan] --codecs: ..`.
StatusOr<PlanGrid::CodecPair> parse_codec_pair(const std::string& text);

/// What a recommended row has to keep.
struct PlanLimits {
  std::optional<double> staleness_mean = {};   // [versions] at most
  std::optional<int64_t> staleness_most = {};  // [versions] at most
  std::optional<double> gb_per_day = {};       // [1e9 bytes] at most, up and down of all workers
  double tolerance = 0.03;  // [1] share of the least time that is not worth a change of training
};

struct PlanRow {
  std::string method;
  int64_t local_steps = 0;
  std::string overlap;
  PlanGrid::CodecPair codecs;
  TimingFigures figures;
  bool keeps_limits = true;

  double seconds_per_1b_tokens() const { return 1e9 / figures.tokens_per_s(); }
  /// [1e9 bytes] of all workers.
  double gb_up_per_day() const;
  double gb_down_per_day() const;
};

struct Plan {
  int64_t workers = 0;
  int64_t num_params = 0;
  double ideal_tokens_per_s = 0;
  std::vector<PlanRow> rows;          // the fastest first
  std::vector<std::string> left_out;  // combinations that cannot be, with the reason
  size_t recommended = 0;             // place in rows
  std::string reason;                 // why that one, a sentence
};

/// The fleet of `recipe` repeated, or cut, to `workers`.
StatusOr<Recipe> with_workers(const Recipe& recipe, int64_t workers);

/// Parameters and tokens of the recipe's model, without its data where it can do without;
/// `num_params` overrides. InvalidArgument where nobody knows them.
StatusOr<ModelFacts> model_facts(const Recipe& recipe, std::optional<int64_t> num_params);

/// InvalidArgument or NotFound when no cell can be timed, in the words of the first; and when none
/// keeps the limits.
StatusOr<Plan> make_plan(const Recipe& recipe, const PlanGrid& grid, const PlanLimits& limits,
                         const ModelFacts& model);

Table plan_table(const Plan& plan);
/// The keys of a row as a recipe has them, e.g. `train.local_steps = 50`.
std::string plan_keys(const PlanRow& row);
nlohmann::ordered_json plan_json(const Plan& plan);

}  // namespace rubato
