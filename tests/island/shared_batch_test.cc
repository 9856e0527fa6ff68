// The parts of a batch, and the tree in which they are added.
#include "rubato/island/shared_batch.h"

#include <vector>

#include "tests/island/thread_link.h"
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato {
namespace {

RC_GTEST_PROP(BatchPart, WholeSequencesAsEvenlyAsTheyAllow, ()) {
  const int ranks = *rc::gen::inRange(1, 40);
  const int64_t sequences = *rc::gen::inRange<int64_t>(ranks, 5000);
  int64_t next = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const BatchPart part = batch_part(sequences, rank, ranks);
    RC_ASSERT(part.begin == next);
    const int64_t size = part.end - part.begin;
    RC_ASSERT(size == sequences / ranks || size == (sequences + ranks - 1) / ranks);
    RC_ASSERT(size <= batch_part(sequences, 0, ranks).end);
    next = part.end;
  }
  RC_ASSERT(next == sequences);
}

float value_of(int rank, size_t i) {
  return 1.0f / static_cast<float>(3 + 7 * rank + static_cast<int>(i % 1013));
}

// What the banner says of the order, level by level.
float tree_sum(std::vector<float> values) {
  while (values.size() > 1) {
    std::vector<float> above;
    for (size_t i = 0; i < values.size(); i += 2)
      above.push_back(i + 1 < values.size() ? values[i] + values[i + 1] : values[i]);
    values = above;
  }
  return values[0];
}

class SumParts : public ::testing::TestWithParam<int> {};

TEST_P(SumParts, AddsNeighboursThenNeighboursOfNeighbours) {
  const int ranks = GetParam();
  constexpr size_t kSize = (size_t{1} << 18) + 77;  // more than one chunk
  std::vector<float> sum;
  StepResult total;
  const auto add = [](IslandLink& link) {
    std::vector<float> gradient(kSize);
    for (size_t i = 0; i < kSize; ++i) gradient[i] = value_of(link.rank(), i);
    StepResult result{.loss = 0.25 * (link.rank() + 1), .tokens = 10 + link.rank()};
    sum_parts(link, gradient, result);
    return std::pair(gradient, result);
  };
  ThreadIsland::run(
      ranks, [&](IslandLink& link) { std::tie(sum, total) = add(link); },
      [&](IslandLink& link) { add(link); });
  for (size_t i = 0; i < kSize; i += 97) {
    std::vector<float> values;
    for (int rank = 0; rank < ranks; ++rank) values.push_back(value_of(rank, i));
    ASSERT_EQ(sum[i], tree_sum(values)) << i;
  }
  EXPECT_DOUBLE_EQ(total.loss, 0.25 * ranks * (ranks + 1) / 2);
  EXPECT_EQ(total.tokens, 10 * ranks + ranks * (ranks - 1) / 2);
}

INSTANTIATE_TEST_SUITE_P(Ranks, SumParts, testing::Values(2, 3, 4, 5, 8));

}  // namespace
}  // namespace rubato
