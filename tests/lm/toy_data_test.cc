// The toy task's points: their distribution, and that they follow from the seed alone.
#include "rubato/lm/toy_data.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

namespace rubato {
namespace {

const ToyDataOptions kSmall = {.inputs = 64, .points = 3200, .eval_points = 500};

bool equal_points(const ToyData& a, const ToyData& b, int64_t count) {
  for (int64_t p = 0; p < count; ++p) {
    if (a.label(p) != b.label(p) || !std::ranges::equal(a.point(p), b.point(p))) return false;
  }
  return true;
}

TEST(ToyData, ThreadsDoNotChangeItAndSeedsDo) {
  const ToyData one = ToyData::make(kSmall, 1).value();
  EXPECT_TRUE(equal_points(one, ToyData::make(kSmall, 3).value(), 3200));
  ToyDataOptions reseeded = kSmall;
  reseeded.seed = 43;
  EXPECT_FALSE(equal_points(one, ToyData::make(reseeded, 1).value(), 1));
}

TEST(ToyData, ClassesAreEquallyOftenAndShuffled) {
  const ToyData data = ToyData::make(kSmall, 1).value();
  std::vector<int64_t> in_all(kToyClasses), in_first_quarter(kToyClasses);
  for (int64_t p = 0; p < 3200; ++p) {
    ++in_all[data.label(p)];
    if (p < 800) ++in_first_quarter[data.label(p)];
  }
  for (int64_t c = 0; c < kToyClasses; ++c) {
    EXPECT_EQ(in_all[c], 800);
    EXPECT_NEAR(static_cast<double>(in_first_quarter[c]), 200, 50);  // standard deviation 10.6
  }
}

// With little noise a point is its centre: a unit vector, one of 8 per class.
TEST(ToyData, PointsLieAroundUnitVectors) {
  ToyDataOptions options = kSmall;
  options.noise = 1e-4;
  const ToyData data = ToyData::make(options, 1).value();
  std::vector<int64_t> seen;  // one point of each cluster met
  for (int64_t p = 0; p < 500; ++p) {
    const auto x = data.point(p);
    double squares = 0;
    for (float value : x) squares += static_cast<double>(value) * value;
    EXPECT_NEAR(squares, 1, 2e-3);
    const bool is_new = std::ranges::none_of(seen, [&](int64_t q) {
      double product = 0;
      for (int64_t j = 0; j < 64; ++j) product += static_cast<double>(x[j]) * data.point(q)[j];
      const bool same_cluster = product > 0.99;
      EXPECT_TRUE(!same_cluster || data.label(p) == data.label(q));
      return same_cluster;
    });
    if (is_new) seen.push_back(p);
  }
  EXPECT_EQ(seen.size(), 32U);
}

TEST(ToyData, NoiseHasItsStandardDeviationInEveryDirection) {
  const ToyData data = ToyData::make(kSmall, 1).value();
  for (int64_t j = 0; j < 64; j += 9) {
    double mean = 0, squares = 0;
    for (int64_t p = 0; p < 3200; ++p) {
      mean += data.point(p)[j] / 3200.0;
      squares += static_cast<double>(data.point(p)[j]) * data.point(p)[j] / 3200.0;
    }
    // The centres add 1/64 of variance in all, on average over directions.
    EXPECT_NEAR(squares - mean * mean, 0.25 + 1.0 / 64, 0.03);
  }
}

TEST(ToyData, EvaluationDrawsTrainingPointsOrHoldsOthersOut) {
  const ToyData data = ToyData::make(kSmall, 1).value();
  const std::set<int64_t> drawn(data.eval_indices().begin(), data.eval_indices().end());
  EXPECT_EQ(drawn.size(), 500U);
  EXPECT_LT(*drawn.rbegin(), 3200);

  ToyDataOptions options = kSmall;
  options.evaluate_held_out = true;
  const ToyData held_out = ToyData::make(options, 1).value();
  EXPECT_TRUE(equal_points(data, held_out, 3200));
  EXPECT_EQ(held_out.eval_indices().size(), 500U);
  EXPECT_EQ(held_out.eval_indices().front(), 3200);
  EXPECT_EQ(held_out.point(held_out.eval_indices().back()).size(), 64U);
}

TEST(ToyData, OptionsOutsideTheirRangesAreRefused) {
  ToyDataOptions options = kSmall;
  options.noise = -1;
  EXPECT_EQ(ToyData::make(options, 1).status().message(), "[toy] noise: got -1, want at least 0");
  options = kSmall;
  options.eval_points = 3201;
  EXPECT_EQ(ToyData::make(options, 1).status().message(),
            "[toy] eval_points: got 3201, want at most the 3200 training points");
}

}  // namespace
}  // namespace rubato
