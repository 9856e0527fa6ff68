// Fixed and dynamic local steps.
#include "rubato/schedule/step_policy.h"

#include <limits>

#include "tests/schedule/make_named.h"
#include <gtest/gtest.h>

#include "rubato/base/rng.h"

namespace rubato {
namespace {

std::unique_ptr<StepPolicy> policy(const std::string& name) {
  return make_named<PolicyEntry>(policy_entries(), name);
}

TEST(StepPolicy, FixedIsAlwaysH) {
  const auto fixed = policy("fixed");
  for (Nanos own : {Nanos{1}, Nanos{1000}, std::numeric_limits<Nanos>::max()})
    EXPECT_EQ(fixed->steps(50, own, 1), 50);
}

TEST(StepPolicy, DyluOfTheToysSpeedsGives50_38_19_8) {
  const auto dylu = policy("dylu");
  const Nanos fastest = from_seconds(0.58);
  EXPECT_EQ(dylu->steps(50, from_seconds(0.58), fastest), 50);
  EXPECT_EQ(dylu->steps(50, from_seconds(0.75), fastest), 38);
  EXPECT_EQ(dylu->steps(50, from_seconds(1.51), fastest), 19);
  EXPECT_EQ(dylu->steps(50, from_seconds(3.33), fastest), 8);
}

// floor(H * fastest / own) is the n with n * own <= H * fastest < (n + 1) * own; no division, no
// rounding. Kept below 2^63 by the ranges.
TEST(StepPolicy, DyluIsTheExactQuotientClamped) {
  const auto dylu = policy("dylu");
  Rng rng(2, RngStream::kTest);
  for (int i = 0; i < 200'000; ++i) {
    const int64_t h = 1 + static_cast<int64_t>(rng.below(500));
    Nanos fastest = 1 + static_cast<Nanos>(rng.below(2'000'000'000));
    Nanos own = fastest + static_cast<Nanos>(rng.below(20'000'000'000));
    if (i % 2 == 0) {
      // Quotients that are whole numbers: where floating point is off by one.
      const int64_t unit = 1 + static_cast<int64_t>(rng.below(1'000'000));
      const int64_t a = 1 + static_cast<int64_t>(rng.below(100));
      fastest = a * unit;
      own = (a + static_cast<int64_t>(rng.below(100))) * unit;
    }
    const int64_t n = dylu->steps(h, own, fastest);
    ASSERT_GE(n, 1);
    ASSERT_LE(n, h);
    ASSERT_LT(h * fastest, (n + 1) * own) << h << " " << fastest << " " << own;
    ASSERT_TRUE(n == 1 || n * own <= h * fastest) << h << " " << fastest << " " << own;
  }
}

TEST(StepPolicy, DyluNeverGivesNothingAndNeverOverflows) {
  const auto dylu = policy("dylu");
  const Nanos largest = std::numeric_limits<Nanos>::max();
  EXPECT_EQ(dylu->steps(50, largest, 1), 1);
  EXPECT_EQ(dylu->steps(50, largest, largest), 50);
  EXPECT_EQ(dylu->steps(1'000'000, largest, largest / 2), 499'999);
  EXPECT_EQ(dylu->steps(1, 10, 10), 1);
}

}  // namespace
}  // namespace rubato
