// The ledger alone: order of assignment, epochs, splitting, quarantine, late deltas.
#include "rubato/coordinator/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/archive.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr ShardId kShard{0};

struct Book {
  explicit Book(std::vector<int64_t> sizes) : ledger(std::move(sizes)) {}
  std::vector<DataRange> assign(int64_t count, ShardId shard = kShard) {
    superseded.clear();
    return ledger.assign(shard, count, superseded);
  }
  Ledger ledger;
  std::vector<TaskId> superseded;
};

TEST(Ledger, IssuesInOrderAndCrossesEpochs) {
  Book book({10});
  EXPECT_THAT(book.assign(7), ElementsAre(DataRange{0, 0, 7}));
  EXPECT_THAT(book.assign(5), ElementsAre(DataRange{0, 7, 3}, DataRange{1, 0, 2}));
  EXPECT_THAT(book.assign(21),
              ElementsAre(DataRange{1, 2, 8}, DataRange{2, 0, 10}, DataRange{3, 0, 3}));
  EXPECT_EQ(book.ledger.epoch_counts(kShard, 1), (FateCounts{.issued = 10, .assigned = 10}));
  EXPECT_EQ(book.ledger.epoch_counts(kShard, 3), (FateCounts{.issued = 3, .assigned = 3}));
}

TEST(Ledger, ShardsAreApart) {
  Book book({10, 4});
  book.assign(3, ShardId(1));
  EXPECT_EQ(book.ledger.shard_counts(kShard), FateCounts{});
  EXPECT_THAT(book.assign(3), ElementsAre(DataRange{0, 0, 3}));
  EXPECT_THAT(book.assign(3, ShardId(1)), ElementsAre(DataRange{0, 3, 1}, DataRange{1, 0, 2}));
  EXPECT_EQ(book.ledger.total_counts().issued, 9);
  EXPECT_EQ(book.ledger.num_shards(), 2);
  EXPECT_EQ(book.ledger.shard_size(ShardId(1)), 4);
}

TEST(Ledger, ReturnedDataGoesFirstAndSplits) {
  Book book({100});
  const auto first = book.assign(10);
  const auto second = book.assign(10);
  book.ledger.give_back(kShard, first, TaskId(0));
  book.ledger.give_back(kShard, second, TaskId(1));
  EXPECT_THAT(book.assign(4), ElementsAre(DataRange{0, 0, 4}));
  EXPECT_THAT(book.superseded, ElementsAre(TaskId(0)));
  EXPECT_THAT(book.assign(9), ElementsAre(DataRange{0, 4, 6}, DataRange{0, 10, 3}));
  EXPECT_THAT(book.superseded, ElementsAre(TaskId(0), TaskId(1)));
  EXPECT_THAT(book.assign(9), ElementsAre(DataRange{0, 13, 7}, DataRange{0, 20, 2}));
}

TEST(Ledger, AFinishedEpochKeepsItsSums) {
  Book book({6});
  const auto a = book.assign(4), b = book.assign(4);
  book.ledger.apply(kShard, a);
  book.ledger.discard(kShard, b);
  EXPECT_EQ(book.ledger.epoch_counts(kShard, 0), FateCounts{}) << "finished: no row of its own";
  EXPECT_EQ(book.ledger.shard_counts(kShard),
            (FateCounts{.issued = 8, .applied = 4, .discarded = 4}));
}

TEST(Ledger, QuarantineAfterThreeRejects) {
  Book book({10});
  auto ranges = book.assign(5);
  for (int64_t times = 1; times < kRejectsUntilQuarantine; ++times) {
    book.ledger.reject(kShard, ranges);
    EXPECT_EQ(book.ledger.shard_counts(kShard), (FateCounts{.issued = 5, .returned = 5}));
    ranges = book.assign(5);
    EXPECT_THAT(ranges, ElementsAre(DataRange{0, 0, 5, times}));
    EXPECT_THAT(book.superseded, IsEmpty());
  }
  book.ledger.reject(kShard, ranges);
  EXPECT_EQ(book.ledger.shard_counts(kShard), (FateCounts{.issued = 5, .quarantined = 5}));
  EXPECT_THAT(book.assign(5), ElementsAre(DataRange{0, 5, 5})) << "never given out again";
}

TEST(Ledger, RejectsStayWithTheirSequencesWhenRangesSplit) {
  Book book({10});
  book.ledger.reject(kShard, book.assign(4));
  book.ledger.reject(kShard, book.assign(2));
  // Sequences 2 and 3 have been refused once, 0 and 1 twice, 4 never.
  const auto ranges = book.assign(5);
  EXPECT_THAT(ranges,
              ElementsAre(DataRange{0, 2, 2, 1}, DataRange{0, 0, 2, 2}, DataRange{0, 4, 1}));
  book.ledger.reject(kShard, ranges);
  EXPECT_EQ(book.ledger.shard_counts(kShard),
            (FateCounts{.issued = 5, .returned = 3, .quarantined = 2}));
}

TEST(Ledger, ALateDeltaReclaimsUntilTheRangeIsGivenOutAgain) {
  Book book({100});
  const auto mine = book.assign(10);
  book.ledger.give_back(kShard, mine, TaskId(7));
  EXPECT_FALSE(book.ledger.reclaim(kShard, mine, TaskId(8))) << "somebody else's";
  ASSERT_TRUE(book.ledger.reclaim(kShard, mine, TaskId(7)));
  EXPECT_EQ(book.ledger.shard_counts(kShard), (FateCounts{.issued = 10, .assigned = 10}));
  EXPECT_FALSE(book.ledger.reclaim(kShard, mine, TaskId(7))) << "taken once already";
  book.ledger.apply(kShard, mine);
  EXPECT_THAT(book.assign(1), ElementsAre(DataRange{0, 10, 1}));
}

TEST(Ledger, AFailedReclaimChangesNothing) {
  Book book({10});
  book.assign(8);
  const auto mine = book.assign(6);  // two ranges: the end of epoch 0 and the beginning of 1
  ASSERT_EQ(mine.size(), 2u);
  book.ledger.give_back(kShard, mine, TaskId(1));
  book.assign(1);
  EXPECT_THAT(book.superseded, ElementsAre(TaskId(1)));
  const FateCounts before = book.ledger.shard_counts(kShard);
  EXPECT_FALSE(book.ledger.reclaim(kShard, mine, TaskId(1)));
  EXPECT_EQ(book.ledger.shard_counts(kShard), before);
  EXPECT_THAT(book.assign(6),
              ElementsAre(DataRange{0, 9, 1}, DataRange{1, 0, 4}, DataRange{1, 4, 1}));
}

TEST(Ledger, ALateDeltaOfAPartLeavesTheRestInLine) {
  Book book({100});
  const auto mine = book.assign(10);
  book.ledger.give_back(kShard, mine, TaskId(3));
  ASSERT_TRUE(book.ledger.reclaim(kShard, split_ranges(mine, 4).prefix, TaskId(3)));
  EXPECT_EQ(book.ledger.shard_counts(kShard),
            (FateCounts{.issued = 10, .assigned = 4, .returned = 6}));
  EXPECT_THAT(book.assign(8), ElementsAre(DataRange{0, 4, 6}, DataRange{0, 10, 2}));
}

TEST(Ledger, ComesBackFromItsArchive) {
  Book book({10, 20});
  book.ledger.reject(kShard, book.assign(3));
  book.ledger.give_back(ShardId(1), book.assign(25, ShardId(1)), TaskId(4));
  Ledger other;
  ASSERT_TRUE(from_archive(to_archive(book.ledger), other).ok());
  EXPECT_EQ(other.total_counts(), book.ledger.total_counts());
  std::vector<TaskId> superseded;
  EXPECT_EQ(other.assign(kShard, 5, superseded), book.assign(5));
  EXPECT_EQ(other.assign(ShardId(1), 5, superseded), book.assign(5, ShardId(1)));
  EXPECT_THAT(superseded, ElementsAre(TaskId(4)));
}

TEST(SplitRanges, CutsAnywhere) {
  const std::vector<DataRange> ranges = {{0, 5, 3, 1}, {1, 0, 4}};
  for (int64_t count = 0; count <= 7; ++count) {
    const SplitRanges split = split_ranges(ranges, count);
    int64_t prefix = 0, rest = 0;
    for (const DataRange& range : split.prefix) prefix += range.count;
    for (const DataRange& range : split.rest) rest += range.count;
    EXPECT_EQ(prefix, count);
    EXPECT_EQ(rest, 7 - count);
  }
  EXPECT_THAT(split_ranges(ranges, 2).prefix, ElementsAre(DataRange{0, 5, 2, 1}));
  EXPECT_THAT(split_ranges(ranges, 2).rest, ElementsAre(DataRange{0, 7, 1, 1}, DataRange{1, 0, 4}));
  EXPECT_THAT(split_ranges(ranges, 3).rest, ElementsAre(DataRange{1, 0, 4}));
  EXPECT_THAT(split_ranges(ranges, 0).prefix, IsEmpty());
  EXPECT_THAT(split_ranges(ranges, 7).rest, IsEmpty());
}

}  // namespace
}  // namespace rubato
