// The report: one HTML file that needs no network and no script. Table, loss against tokens and
// against virtual time, a timeline of tasks in which one sees the waiting, staleness, shares of the
// workers, recipe and provenance. docs/metrics.md says how to read it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "rubato/metrics/run_data.h"
#include "rubato/store/file_system.h"

namespace rubato {

/// The page. Text from runs and recipes is escaped. Runs may be unfinished and may lack any kind of
/// record; what cannot be drawn is left out.
std::string render_report(std::string_view title, std::span<const RunData> runs);

/// render_report written to `path`, whole or not at all.
Status write_report(FileSystem& files, const std::string& path, std::string_view title,
                    std::span<const RunData> runs);

}  // namespace rubato
