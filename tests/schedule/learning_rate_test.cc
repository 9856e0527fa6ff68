// Eq. 3 to the letter, at its joints, and beyond its ends.
#include "rubato/schedule/learning_rate.h"

#include <cmath>
#include <limits>
#include <numbers>

#include <gtest/gtest.h>

#include "rubato/base/rng.h"

namespace rubato {
namespace {

TEST(LearningRate, WarmupIsAStraightLineFromZero) {
  const LearningRate rate{.max = 0.4, .min = 0.01, .warmup_steps = 100};
  EXPECT_EQ(rate.at(0, 1000), 0);
  EXPECT_DOUBLE_EQ(rate.at(1, 1000), 0.004);
  EXPECT_DOUBLE_EQ(rate.at(50, 1000), 0.2);
  EXPECT_DOUBLE_EQ(rate.at(99, 1000), 0.396);
}

TEST(LearningRate, CosineFromMaxToMin) {
  const LearningRate rate{.max = 0.4, .min = 0.1, .warmup_steps = 100};
  EXPECT_DOUBLE_EQ(rate.at(100, 1100), 0.4) << "the first step after the warmup";
  EXPECT_DOUBLE_EQ(rate.at(600, 1100), 0.25) << "half way";
  EXPECT_DOUBLE_EQ(rate.at(1100, 1100), 0.1) << "the target";
  // A third of the way: cos(pi/3) = 1/2, so 0.1 + 0.15 * 1.5.
  EXPECT_DOUBLE_EQ(rate.at(400, 1000), 0.325);
}

TEST(LearningRate, StaysAtMinBeyondTheTarget) {
  const LearningRate rate{.max = 0.4, .min = 0.1, .warmup_steps = 10};
  for (int64_t t : {1001, 2000, 1'000'000'000}) EXPECT_DOUBLE_EQ(rate.at(t, 1000), 0.1);
  EXPECT_DOUBLE_EQ(rate.at(std::numeric_limits<int64_t>::max(), 1000), 0.1);
}

TEST(LearningRate, WithoutWarmupStartsAtMax) {
  const LearningRate rate{.max = 0.4, .min = 0.1, .warmup_steps = 0};
  EXPECT_EQ(rate.at(0, 10), 0.4);
  EXPECT_DOUBLE_EQ(rate.at(10, 10), 0.1);
}

TEST(LearningRate, AWarmupAsLongAsTheTargetEndsAtMaxThenMin) {
  const LearningRate rate{.max = 0.4, .min = 0.1, .warmup_steps = 100};
  for (int64_t total : {1, 50, 100}) {
    EXPECT_DOUBLE_EQ(rate.at(99, total), 0.396);
    EXPECT_DOUBLE_EQ(rate.at(100, total), 0.4);
    EXPECT_DOUBLE_EQ(rate.at(101, total), 0.1);
  }
}

TEST(LearningRate, ConstantWhenMaxIsMin) {
  const LearningRate rate{.max = 0.05, .min = 0.05, .warmup_steps = 0};
  for (int64_t t = 0; t < 30; ++t) EXPECT_EQ(rate.at(t, 20), 0.05);
}

TEST(LearningRate, IsTheFormulaEverywhereAndNeverLeavesItsRange) {
  Rng rng(1, RngStream::kTest);
  for (int i = 0; i < 20'000; ++i) {
    LearningRate rate;
    rate.max = 1e-4 + rng.uniform();
    rate.min = rate.max * rng.uniform();
    rate.warmup_steps = static_cast<int64_t>(rng.below(200));
    const int64_t total = rate.warmup_steps + 1 + static_cast<int64_t>(rng.below(5000));
    const int64_t t = static_cast<int64_t>(rng.below(static_cast<uint64_t>(total) + 1));
    const long double x = static_cast<long double>(t - rate.warmup_steps) /
                          static_cast<long double>(total - rate.warmup_steps);
    const long double want =
        t < rate.warmup_steps ? static_cast<long double>(rate.max) * t / rate.warmup_steps
                              : rate.min + (static_cast<long double>(rate.max) - rate.min) / 2 *
                                               (1 + std::cos(std::numbers::pi_v<long double> * x));
    ASSERT_NEAR(rate.at(t, total), static_cast<double>(want), 1e-15);
    ASSERT_LE(rate.at(t, total), rate.max);
    ASSERT_GE(rate.at(t, total), t < rate.warmup_steps ? 0 : rate.min * (1 - 1e-15));
  }
}

TEST(LearningRate, ImpossibleOnesAreRefused) {
  EXPECT_TRUE((LearningRate{.max = 1, .min = 1, .warmup_steps = 0}).validate().ok());
  EXPECT_TRUE((LearningRate{.max = 1, .min = 0, .warmup_steps = 5}).validate().ok());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const LearningRate& bad :
       {LearningRate{.max = 0, .min = 0}, LearningRate{.max = -1, .min = -2},
        LearningRate{.max = 1, .min = 2}, LearningRate{.max = 1, .min = -0.1},
        LearningRate{.max = 1, .min = 0, .warmup_steps = -1}, LearningRate{.max = nan, .min = 0},
        LearningRate{.max = 1, .min = nan}}) {
    const Status status = bad.validate();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(std::string(status.message()).starts_with("[lr] got max ")) << status;
  }
}

}  // namespace
}  // namespace rubato
