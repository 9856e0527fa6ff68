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
  int64_t keep_last = 3;                    // newest checkpoints that stay
  std::optional<int64_t> keep_every_steps;  // checkpoints at multiples of this stay too; >= 1
};

/// Of `steps`, in any order, those whose checkpoints go, ascending. `just_written` never goes. A
/// checkpoint's fate by keep_every_steps depends on its own step alone, so it never changes.
std::vector<int64_t> checkpoints_to_delete(std::span<const int64_t> steps,
                                           const RetentionPolicy& policy, int64_t just_written);

/// Deletes what checkpoints_to_delete says of the complete checkpoints of a run and returns their
/// steps. Each disappears at once, by its name, before its files do; damaged ones are left alone.
StatusOr<std::vector<int64_t>> prune_checkpoints(FileSystem& files, const std::string& run_dir,
                                                 const RetentionPolicy& policy,
                                                 int64_t just_written);

}  // namespace rubato
