// Which shard a task trains on. A sampler is pure: progress in, shard out; its random draw is keyed
// by (seed, task).
#pragma once

#include <memory>
#include <span>

#include "rubato/base/ids.h"
#include "rubato/base/registry.h"

namespace rubato {

struct ShardProgress {
  int64_t size = 0;      // |D_i| [sequences]; > 0
  int64_t assigned = 0;  // n_i [sequences], counted at assignment; >= 0
  int64_t visits = 0;    // tasks assigned so far
};

class ShardSampler {
 public:
  virtual ~ShardSampler() = default;
  /// The shard for `task` of `worker`; `shards` is not empty.
  virtual ShardId sample(std::span<const ShardProgress> shards, WorkerId worker, TaskId task,
                         uint64_t seed) const = 0;
};

using SamplerEntry = Entry<StatusOr<std::unique_ptr<ShardSampler>>(const Options&)>;

/// Every sampler there is: deficit, least_visited, own_shard.
std::span<const SamplerEntry* const> sampler_entries();

}  // namespace rubato
