#include "rubato/store/retention.h"

#include <algorithm>

#include "rubato/store/checkpoint.h"

namespace rubato {

std::vector<int64_t> checkpoints_to_delete(std::span<const int64_t> steps,
                                           const RetentionPolicy& policy, int64_t just_written) {
  std::vector<int64_t> sorted(steps.begin(), steps.end());
  std::ranges::sort(sorted);
  const int64_t count = static_cast<int64_t>(sorted.size());
  std::vector<int64_t> deleted;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t step = sorted[static_cast<size_t>(i)];
    const bool is_recent = i >= count - policy.keep_last;
    const int64_t before = i > 0 ? sorted[static_cast<size_t>(i - 1)] : 0;
    const bool is_milestone =
        policy.keep_every_steps &&
        (step == 0 || step / *policy.keep_every_steps > before / *policy.keep_every_steps);
    if (!is_recent && !is_milestone && step != just_written) deleted.push_back(step);
  }
  return deleted;
}

StatusOr<std::vector<int64_t>> prune_checkpoints(FileSystem& files, const std::string& run_dir,
                                                 const RetentionPolicy& policy,
                                                 int64_t just_written) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<std::string> paths, list_checkpoints(files, run_dir));
  std::vector<int64_t> steps;
  for (const std::string& path : paths) steps.push_back(checkpoint_step(base_name(path)));
  const std::vector<int64_t> deleted = checkpoints_to_delete(steps, policy, just_written);
  for (const int64_t step : deleted) {
    RUBATO_RETURN_IF_ERROR(delete_checkpoint(files, run_dir, step));
  }
  return deleted;
}

}  // namespace rubato
