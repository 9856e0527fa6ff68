// A run as a report sees it: its summary, its records and its recipe; from memory after `compare`,
// or from a run directory, finished or not.
#pragma once

#include <string>
#include <vector>

#include "rubato/metrics/record.h"
#include "rubato/store/file_system.h"

namespace rubato {

struct RunData {
  RunSummary summary;
  RecordLog log;
  std::string recipe;  // text of recipe.toml; "" when it is not known
};

/// Reads summary.json, metrics.jsonl, events.jsonl and recipe.toml. A run that still writes has no
/// summary yet: it is made of the records (finished = false). The torn last line of a running or
/// killed run is left out. NotFound when the directory holds no metrics.jsonl.
StatusOr<RunData> load_run(FileSystem& files, const std::string& run_directory);

/// What the records alone tell of a run: counts, last evaluation, staleness, participation.
RunSummary summarise(const RecordLog& log);

/// Writes summary.json, indented, whole or not at all.
Status write_summary(FileSystem& files, const std::string& run_directory,
                     const RunSummary& summary);

}  // namespace rubato
