// Shard samplers: eq. 2 by hand-made cases and by frequencies, least visited, own shard.
#include "rubato/schedule/sampler.h"

#include <cmath>
#include <set>
#include <vector>

#include "tests/schedule/make_named.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/rng.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using Shards = std::vector<ShardProgress>;

std::unique_ptr<ShardSampler> sampler(const std::string& name) {
  return make_named<SamplerEntry>(sampler_entries(), name);
}

std::vector<int64_t> counts(const ShardSampler& sampler, const Shards& shards, int64_t draws,
                            uint64_t seed = 1) {
  std::vector<int64_t> out(shards.size());
  for (int64_t task = 0; task < draws; ++task)
    ++out[static_cast<size_t>(sampler.sample(shards, WorkerId(0), TaskId(task), seed).value())];
  return out;
}

// Each count within five standard deviations of draws * p.
void expect_frequencies(const ShardSampler& sampler, const Shards& shards,
                        const std::vector<double>& weights) {
  constexpr int64_t kDraws = 40'000;
  const std::vector<int64_t> got = counts(sampler, shards, kDraws);
  double whole = 0;
  for (double weight : weights) whole += weight;
  for (size_t i = 0; i < shards.size(); ++i) {
    const double p = weights[i] / whole, mean = kDraws * p;
    EXPECT_NEAR(static_cast<double>(got[i]), mean, 5 * std::sqrt(mean * (1 - p))) << "shard " << i;
  }
}

TEST(Deficit, BeforeAnythingIsAssignedBySize) {
  expect_frequencies(*sampler("deficit"), {{100, 0, 0}, {300, 0, 0}, {600, 0, 0}}, {1, 3, 6});
}

TEST(Deficit, WhenAllAreOnTargetBySizeToo) {
  expect_frequencies(*sampler("deficit"), {{100, 10, 1}, {300, 30, 1}, {600, 60, 1}}, {1, 3, 6});
}

TEST(Deficit, ByWhatIsMissing) {
  // Shares .5 .3 .2 of the data; .2 .3 .5 of what was assigned: only the first one lags.
  EXPECT_THAT(counts(*sampler("deficit"), {{500, 20, 0}, {300, 30, 0}, {200, 50, 0}}, 500),
              ElementsAre(500, 0, 0));
  // Shares .4 .4 .2; assigned .3 .2 .5: missing .1 and .2.
  expect_frequencies(*sampler("deficit"), {{400, 30, 0}, {400, 20, 0}, {200, 50, 0}}, {1, 2, 0});
}

TEST(Deficit, RandomCasesByFrequencies) {
  Rng rng(3, RngStream::kTest);
  for (int round = 0; round < 12; ++round) {
    Shards shards(2 + rng.below(5));
    double sizes = 0, assigned = 0;
    for (ShardProgress& shard : shards) {
      shard = {1 + static_cast<int64_t>(rng.below(1000)), static_cast<int64_t>(rng.below(500)), 0};
      sizes += static_cast<double>(shard.size);
      assigned += static_cast<double>(shard.assigned);
    }
    std::vector<double> weights;
    for (const ShardProgress& shard : shards) {
      weights.push_back(std::max(
          static_cast<double>(shard.size) / sizes - static_cast<double>(shard.assigned) / assigned,
          0.0));
    }
    expect_frequencies(*sampler("deficit"), shards, weights);
  }
}

TEST(Deficit, HugeSizesDoNotOverflow) {
  constexpr int64_t kHuge = int64_t{1} << 40;
  expect_frequencies(*sampler("deficit"), {{kHuge, 0, 0}, {3 * kHuge, 0, 0}}, {1, 3});
  // Missing 1/4 - 1/8 and 3/4 - 5/8 of the whole: equal.
  expect_frequencies(*sampler("deficit"),
                     {{kHuge, kHuge, 0}, {3 * kHuge, 5 * kHuge, 0}, {4 * kHuge, 10 * kHuge, 0}},
                     {1, 1, 0});
  // One sequence behind at 2^40 is a deficit all the same.
  EXPECT_THAT(counts(*sampler("deficit"), {{kHuge, kHuge - 1, 0}, {kHuge, kHuge, 0}}, 100),
              ElementsAre(100, 0));
}

TEST(Deficit, KeepsSharesNearTheirTargets) {
  Shards shards = {{100, 0, 0}, {250, 0, 0}, {650, 0, 0}};
  const auto deficit = sampler("deficit");
  for (int64_t task = 0; task < 2000; ++task) {
    auto& shard =
        shards[static_cast<size_t>(deficit->sample(shards, WorkerId(0), TaskId(task), 5).value())];
    shard.assigned += 7;
  }
  // Only a shard that lags is drawn, so none is ever more than about one task ahead.
  for (const ShardProgress& shard : shards)
    EXPECT_NEAR(static_cast<double>(shard.assigned),
                14'000 * static_cast<double>(shard.size) / 1000, 21);
}

TEST(LeastVisited, UniformAmongTheLeast) {
  expect_frequencies(*sampler("least_visited"), {{10, 0, 3}, {999, 0, 2}, {5, 0, 2}, {1, 0, 2}},
                     {0, 1, 1, 1});
  expect_frequencies(*sampler("least_visited"), {{10, 0, 0}, {999, 0, 0}}, {1, 1});
}

TEST(LeastVisited, VisitsDifferByOneAtMost) {
  Shards shards = {{10, 0, 0}, {999, 0, 0}, {5, 0, 0}};
  const auto least = sampler("least_visited");
  for (int64_t task = 0; task < 300; ++task) {
    ++shards[static_cast<size_t>(least->sample(shards, WorkerId(0), TaskId(task), 5).value())]
          .visits;
    int64_t low = shards[0].visits, high = low;
    for (const ShardProgress& shard : shards) {
      low = std::min(low, shard.visits);
      high = std::max(high, shard.visits);
    }
    ASSERT_LE(high - low, 1);
  }
}

TEST(OwnShard, IsTheWorkersNumber) {
  const Shards shards = {{10, 0, 0}, {10, 5, 9}, {10, 0, 0}};
  const auto own = sampler("own_shard");
  for (int64_t worker = 0; worker < 9; ++worker)
    EXPECT_EQ(own->sample(shards, WorkerId(worker), TaskId(4), 1), ShardId(worker % 3));
  for (int64_t worker : {int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    const ShardId shard = own->sample(shards, WorkerId(worker), TaskId(4), 1);
    EXPECT_GE(shard, ShardId(0));
    EXPECT_LT(shard, ShardId(3));
  }
}

TEST(Samplers, TheDrawDependsOnSeedAndTaskOnly) {
  const Shards shards = {{10, 0, 0}, {20, 0, 0}, {30, 0, 0}, {40, 0, 0}};
  for (const std::string name : {"deficit", "least_visited"}) {
    const auto first = sampler(name), second = sampler(name);
    std::set<std::vector<int64_t>> by_seed;
    for (uint64_t seed = 0; seed < 4; ++seed) {
      std::vector<int64_t> forward(50), backward(50);
      for (int64_t task = 0; task < 50; ++task)
        forward[task] = first->sample(shards, WorkerId(0), TaskId(task), seed).value();
      for (int64_t task = 49; task >= 0; --task)
        backward[task] = second->sample(shards, WorkerId(7), TaskId(task), seed).value();
      EXPECT_EQ(forward, backward) << name;
      EXPECT_GE((std::set<int64_t>(forward.begin(), forward.end()).size()), 3u);
      by_seed.insert(forward);
    }
    EXPECT_EQ(by_seed.size(), 4u) << "another seed, other draws";
  }
}

TEST(Samplers, OneShardIsAlwaysThatOne) {
  for (const SamplerEntry* entry : sampler_entries()) {
    EXPECT_EQ(sampler(entry->name)->sample(Shards{{1, 0, 0}}, WorkerId(5), TaskId(3), 1),
              ShardId(0));
  }
}

}  // namespace
}  // namespace rubato
