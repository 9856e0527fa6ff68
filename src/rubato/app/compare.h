// The same token budget under several methods, over one or more seeds. What is compared is decided
// before the first run: equal recipes but for the method, one pretraining for all, and the share of
// the budget up to which asynchronous runs are followed.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "rubato/app/run.h"
#include "rubato/metrics/table.h"

namespace rubato {

struct ComparisonPlan {
  std::vector<std::string> methods;
  std::vector<int64_t> seeds;
};

struct Comparison {
  std::vector<RunData> runs;       // by seed, then in the order of the methods
  std::vector<std::string> names;  // of the runs' directories, in the same order
  std::vector<std::string> notes;  // what a reader of the table must know: who diverged, and why
  bool interrupted = false;        // the run that was stopped is left out
};

/// Runs everything; `environment.directory` gets one run directory a run, unless it is empty.
/// `announce` is called before each run. A run that diverges is a row without a loss. Before the
/// first run: InvalidArgument for a method or seed that comes twice and for a method that cannot
/// run under this recipe, NotFound when there is nothing to resume, AlreadyExists for a directory
/// that holds a comparison which is not to be resumed. Other errors are the runs' own,
/// with the method in front.
StatusOr<Comparison> compare_methods(const Recipe& base, const ComparisonPlan& plan,
                                     const RunEnvironment& environment,
                                     const std::function<void(const std::string&)>& announce);

/// Fills time_to_sync_loss_s of every run from its seed's sync-diloco; absent where there is none
/// or the loss is never reached.
void fill_time_to_sync_loss(std::span<RunData> runs);

/// Where a comparison's directory keeps comparison_json.
std::string comparison_path(const std::string& directory);
/// {"rows": [summary, ..]}.
nlohmann::ordered_json comparison_json(std::span<const RunData> runs);

/// Mean and standard deviation over the seeds, a row a method; empty with a single seed.
Table spread_table(std::span<const RunData> runs);

}  // namespace rubato
