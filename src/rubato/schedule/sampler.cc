#include "rubato/schedule/sampler.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "rubato/base/int128.h"
#include "rubato/base/rng.h"

namespace rubato {
namespace {

ShardId draw(const std::vector<uint64_t>& weights, TaskId task, uint64_t seed) {
  uint64_t total = 0;
  for (uint64_t weight : weights) total += weight;
  Rng rng(seed, RngStream::kShardSampling, static_cast<uint64_t>(task.value()));
  uint64_t point = rng.below(total);
  size_t shard = 0;
  while (point >= weights[shard]) point -= weights[shard++];
  return ShardId(static_cast<int64_t>(shard));
}

class Deficit final : public ShardSampler {
 public:
  ShardId sample(std::span<const ShardProgress> shards, WorkerId, TaskId task,
                 uint64_t seed) const override {
    Int128 all_size = 0, all_assigned = 0, largest = 0;
    for (const ShardProgress& shard : shards) {
      all_size += shard.size;
      all_assigned += shard.assigned;
    }
    std::vector<Int128> exact;
    for (const ShardProgress& shard : shards) {
      exact.push_back(std::max<Int128>(shard.size * all_assigned - shard.assigned * all_size, 0));
      largest = std::max(largest, exact.back());
    }
    std::vector<uint64_t> weights;
    if (largest == 0) {  // nothing assigned yet, or all exactly on target
      for (const ShardProgress& shard : shards)
        weights.push_back(static_cast<uint64_t>(shard.size));
      return draw(weights, task, seed);
    }
    // Down to 40 bits each, so that up to 2^24 shards add up in 64.
    int shift = 0;
    while ((largest >> shift) >= (Int128{1} << 40)) ++shift;
    for (Int128 weight : exact) weights.push_back(static_cast<uint64_t>(weight >> shift));
    return draw(weights, task, seed);
  }
};

class LeastVisited final : public ShardSampler {
 public:
  ShardId sample(std::span<const ShardProgress> shards, WorkerId, TaskId task,
                 uint64_t seed) const override {
    int64_t fewest = std::numeric_limits<int64_t>::max();
    for (const ShardProgress& shard : shards) fewest = std::min(fewest, shard.visits);
    std::vector<uint64_t> weights;
    for (const ShardProgress& shard : shards) weights.push_back(shard.visits == fewest ? 1 : 0);
    return draw(weights, task, seed);
  }
};

class OwnShard final : public ShardSampler {
 public:
  ShardId sample(std::span<const ShardProgress> shards, WorkerId worker, TaskId,
                 uint64_t) const override {
    // Every number is somebody's shard, negative ones too.
    const auto count = static_cast<int64_t>(shards.size());
    return ShardId((worker.value() % count + count) % count);
  }
};

const SamplerEntry kDeficit = {
    {.name = "deficit",
     .summary = "draws among the shards that lag behind their share of the data",
     .formula = "p_i ~ max(|D_i| / sum |D| - n_i / sum n, 0)",
     .source = "Liu et al. 2024, eq. 2",
     .options = {}},
    [](const Options&) -> StatusOr<std::unique_ptr<ShardSampler>> {
      return std::make_unique<Deficit>();
    }};

const SamplerEntry kLeastVisited = {
    {.name = "least_visited",
     .summary = "draws uniformly among the shards with the fewest tasks so far",
     .formula = "p_i = 1 / |least visited| if visits_i is the minimum, else 0",
     .source = "the authors' toy notebook (asyncdiloco)",
     .options = {}},
    [](const Options&) -> StatusOr<std::unique_ptr<ShardSampler>> {
      return std::make_unique<LeastVisited>();
    }};

const SamplerEntry kOwnShard = {{.name = "own_shard",
                                 .summary = "worker i always trains on shard i",
                                 .formula = "shard = worker mod shards",
                                 .source = "Douillard et al. 2023, Alg. 1",
                                 .options = {}},
                                [](const Options&) -> StatusOr<std::unique_ptr<ShardSampler>> {
                                  return std::make_unique<OwnShard>();
                                }};

const SamplerEntry* const kEntries[] = {&kDeficit, &kLeastVisited, &kOwnShard};

}  // namespace

std::span<const SamplerEntry* const> sampler_entries() { return kEntries; }

}  // namespace rubato
