// The seeded order of a shard is a bijection, and another one for every seed, shard and epoch.
#include "rubato/schedule/permutation.h"

#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace rubato {
namespace {

std::vector<int64_t> order(uint64_t seed, int64_t shard, int64_t epoch, int64_t size) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < size; ++i)
    out.push_back(permuted_index(seed, ShardId(shard), epoch, i, size));
  return out;
}

TEST(Permutation, IsABijectionForEverySize) {
  std::vector<int> seen;
  for (int64_t size = 1; size <= 2000; ++size) {
    seen.assign(static_cast<size_t>(size), 0);
    for (int64_t i = 0; i < size; ++i) {
      const int64_t index = permuted_index(7, ShardId(1), 2, i, size);
      ASSERT_TRUE(index >= 0 && index < size) << "size " << size;
      ASSERT_EQ(seen[static_cast<size_t>(index)]++, 0) << "size " << size << " twice " << index;
    }
  }
}

TEST(Permutation, IsABijectionOfALargeShard) {
  for (int64_t size : {65'536, 65'537, 1'000'003}) {
    std::vector<bool> seen(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) {
      const int64_t index = permuted_index(1, ShardId(0), 0, i, size);
      ASSERT_FALSE(seen[static_cast<size_t>(index)]);
      seen[static_cast<size_t>(index)] = true;
    }
  }
}

TEST(Permutation, StaysInsideHugeShards) {
  for (int shift = 30; shift <= 62; shift += 4) {
    const int64_t size = (int64_t{1} << shift) + 12345;
    std::set<int64_t> images;
    for (int64_t i = 0; i < 300; ++i) {
      const int64_t index = permuted_index(1, ShardId(0), 0, size - 1 - i * 3, size);
      ASSERT_TRUE(index >= 0 && index < size);
      images.insert(index);
    }
    EXPECT_EQ(images.size(), 300u);
  }
}

TEST(Permutation, DiffersBetweenSeedsShardsAndEpochs) {
  std::set<std::vector<int64_t>> all;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    for (int64_t shard = -1; shard < 5; ++shard) {
      for (int64_t epoch = 0; epoch < 6; ++epoch) all.insert(order(seed, shard, epoch, 100));
    }
  }
  EXPECT_EQ(all.size(), 6u * 6u * 6u);
  EXPECT_EQ(order(1, 0, 0, 500), order(1, 0, 0, 500));
}

TEST(Permutation, EveryPositionVisitsEveryPlace) {
  // Over many epochs position 3 of 10 falls on each index about equally often.
  std::vector<int> count(10);
  constexpr int kEpochs = 20'000;
  for (int epoch = 0; epoch < kEpochs; ++epoch)
    ++count[static_cast<size_t>(permuted_index(5, ShardId(0), epoch, 3, 10))];
  for (int times : count) EXPECT_NEAR(times, kEpochs / 10, 5 * std::sqrt(kEpochs / 10));
}

TEST(Permutation, NeighboursAreScattered) {
  // Of 10,000 positions, neighbours land on neighbouring indices about as often as by chance: 2.
  const auto once = order(3, 0, 0, 10'000);
  int adjacent = 0;
  for (size_t i = 1; i < once.size(); ++i) adjacent += std::abs(once[i] - once[i - 1]) == 1;
  EXPECT_LE(adjacent, 12);
}

}  // namespace
}  // namespace rubato
