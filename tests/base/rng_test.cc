#include "rubato/base/rng.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(Rng, DrawsArePureFunctionsOfSeedStreamAndKey) {
  Rng a(7, RngStream::kTest, 3), b(7, RngStream::kTest, 3), other_key(7, RngStream::kTest, 4);
  const uint64_t first = a.next_u64();
  EXPECT_EQ(first, b.next_u64());
  EXPECT_NE(first, other_key.next_u64());
}

TEST(Rng, BelowStaysBelowAndReachesEveryValue) {
  Rng rng(1, RngStream::kTest);
  int seen[5] = {};
  for (int i = 0; i < 5000; ++i) ++seen[rng.below(5)];
  for (int count : seen) EXPECT_NEAR(count, 1000, 150);  // five standard deviations
}

TEST(Rng, NormalHasMeanZeroAndVarianceOne) {
  Rng rng(2, RngStream::kTest);
  double sum = 0, squares = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.016);
  EXPECT_NEAR(squares / kDraws, 1, 0.023);
}

}  // namespace
}  // namespace rubato
