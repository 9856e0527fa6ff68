// Which checkpoints stay: the last few, and one every so many steps for good.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rubato/store/file_system.h"

namespace rubato {

struct RetentionPolicy {
  int64_t keep_last = 3;  // newest checkpoints that stay
  // The first checkpoint at or behind each multiple of this stays too; >= 1. Asynchronous runs
  // seldom hit a multiple exactly.
  std::optional<int64_t> keep_every_steps;
};

/// Of `steps`, in any order, those whose checkpoints go, ascending. `just_written` never goes. What
/// keep_every_steps keeps now it keeps after any later pruning.
std::vector<int64_t> checkpoints_to_delete(std::span<const int64_t> steps,
                                           const RetentionPolicy& policy, int64_t just_written);

/// Deletes what checkpoints_to_delete says of the complete checkpoints of a run and returns their
/// steps. Each disappears at once, by its name, before its files do; damaged ones are left alone.
StatusOr<std::vector<int64_t>> prune_checkpoints(FileSystem& files, const std::string& run_dir,
                                                 const RetentionPolicy& policy,
                                                 int64_t just_written);

}  // namespace rubato
