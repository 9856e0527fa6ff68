#include "rubato/metrics/run_data.h"

#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "rubato/metrics/run_statistics.h"
#include "rubato/metrics/sink.h"

namespace rubato {

RunSummary summarise(const RecordLog& log) {
  RunSummary summary;
  summary.finished = false;
  if (log.evals.empty()) {
    // Nothing was measured, which is not a loss of 0.
    summary.val_loss_nats = summary.val_bits_per_byte = std::numeric_limits<double>::quiet_NaN();
  } else {
    const EvalRecord& last = log.evals.back();
    summary.method = last.method;
    summary.local_steps = last.local_steps;
    summary.tokens = last.tokens;
    summary.server_updates = last.server_updates;
    summary.val_loss_nats = last.loss_nats;
    summary.val_bits_per_byte = last.bits_per_byte;
    summary.val_accuracy = last.accuracy;
    summary.virtual_time_s = to_seconds(last.virtual_time_ns);
    summary.wall_time_s = to_seconds(last.wall_time_ns);
    if (last.wall_time_ns > 0) {
      summary.train_tokens_per_s = static_cast<double>(last.tokens) / summary.wall_time_s;
    }
  }
  RunStatistics statistics;
  for (const UpdateRecord& update : log.updates) statistics.add(update);
  for (const TaskSpan& span : log.spans) statistics.add(span);
  statistics.fill(summary);
  if (log.evals.empty()) statistics.fill_progress(summary);
  summary.workers = static_cast<int64_t>(summary.per_worker.size());
  return summary;
}

StatusOr<RunData> load_run(FileSystem& files, const std::string& run_directory) {
  if (!files.exists(metrics_path(run_directory))) {
    return absl::NotFoundError(
        cat("[report] ", run_directory, ": got no metrics.jsonl, want the directory of a run"));
  }
  RunData run;
  for (const std::string& path : {metrics_path(run_directory), events_path(run_directory)}) {
    if (!files.exists(path)) continue;
    RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
    RUBATO_RETURN_IF_ERROR(read_records(path, text, run.log));
  }
  if (files.exists(summary_path(run_directory))) {
    RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(summary_path(run_directory)));
    auto summary = summary_from_json(text);
    RUBATO_RETURN_IF_ERROR(annotate(summary.status(), summary_path(run_directory)));
    run.summary = *std::move(summary);
  } else {
    run.summary = summarise(run.log);
  }
  const std::string recipe_path = join_path(run_directory, "recipe.toml");
  if (files.exists(recipe_path)) {
    RUBATO_ASSIGN_OR_RETURN(run.recipe, files.read_file(recipe_path));
  }
  return run;
}

Status write_summary(FileSystem& files, const std::string& run_directory,
                     const RunSummary& summary) {
  const std::string text =
      to_json(summary).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return files.replace_file(summary_path(run_directory), text + "\n");
}

}  // namespace rubato
