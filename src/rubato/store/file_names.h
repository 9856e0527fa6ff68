// Names of the files that a cluster's run keeps, and back. Pure functions; what is in the files
// stands in docs/formats.md.
//   RUN/journal/segment-000000000042    records from index 42 on
//   RUN/spool/task-7.part, task-7.delta  an upload while it arrives, and when it is complete
//   RUN/kept/task-7.delta               one that has been applied
//   RUN/versions/v-3                    published parameters
// A name with `.tmp` behind it is being written; whoever opens the directory removes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rubato/base/ids.h"

namespace rubato {

inline constexpr std::string_view kTemporarySuffix = ".tmp";

std::string journal_directory(std::string_view run_dir);
std::string journal_segment_path(std::string_view run_dir, int64_t first_index);
/// Index of a segment's name, or -1 when it is none.
int64_t journal_segment_index(std::string_view name);

std::string spool_directory(std::string_view run_dir);
std::string kept_directory(std::string_view run_dir);
std::string spool_part_path(std::string_view run_dir, TaskId task);
std::string spool_delta_path(std::string_view run_dir, TaskId task);
std::string kept_delta_path(std::string_view run_dir, TaskId task);
/// Task of a name that such a path ends with, or -1 when it is none.
int64_t spool_part_task(std::string_view name);
int64_t spool_delta_task(std::string_view name);

std::string versions_directory(std::string_view run_dir);
std::string version_path(std::string_view run_dir, Version version);
/// Version of a name, or -1 when it is none.
int64_t version_of_name(std::string_view name);

/// N >= 0 of `prefix N suffix`, or -1 when the name is none: no sign, no leading zeros.
int64_t number_in_name(std::string_view name, std::string_view prefix,
                       std::string_view suffix = "");

}  // namespace rubato
