#include "rubato/interchange/weights.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato {
namespace {

using ::testing::HasSubstr;

// Exactly, by the definition of binary16.
double value_of(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 0x3ff;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

bool is_finite(uint16_t half) { return (half & 0x7c00) != 0x7c00; }

TEST(Weights, EveryHalfComesBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = float_of_half(half);
    if (is_finite(half)) {
      ASSERT_EQ(value, value_of(half)) << bits;
      ASSERT_EQ(half_of(value), half) << bits;
    } else {
      ASSERT_EQ(std::isnan(value), (bits & 0x3ff) != 0) << bits;
      ASSERT_EQ(is_finite(half_of(value)), false) << bits;
    }
  }
}

RC_GTEST_PROP(Weights, AHalfIsTheNearestAndEvenWhereTwoAre, ()) {
  const auto low = static_cast<uint16_t>(*rc::gen::inRange(0, 0x7bff));  // the largest but one
  const double a = value_of(low), b = value_of(static_cast<uint16_t>(low + 1));
  const double middle = (a + b) / 2;  // a float holds it
  RC_ASSERT(half_of(static_cast<float>(middle)) == low + (low & 1));
  const auto value = static_cast<float>(a + (b - a) * *rc::gen::inRange(0, 1001) / 1000);
  const uint16_t nearest = value < middle ? low : static_cast<uint16_t>(low + 1);
  if (value != middle) RC_ASSERT(half_of(value) == nearest);
  RC_ASSERT(half_of(-value) == (half_of(value) | 0x8000));
}

TEST(Weights, HalvesEndAt65504) {
  EXPECT_EQ(half_of(65504), 0x7bff);
  EXPECT_EQ(half_of(65519.99f), 0x7bff);
  EXPECT_EQ(half_of(65520), 0x7c00);
  EXPECT_EQ(half_of(std::numeric_limits<float>::infinity()), 0x7c00);
  std::string out;
  EXPECT_TRUE(append_weights(WeightType::kF16, std::vector<float>{65519}, out).ok());
  const Status status = append_weights(WeightType::kF16, std::vector<float>{1, -65520}, out);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("-65520"));
}

RC_GTEST_PROP(Weights, ABlockIsWithinHalfAStepOfItsScale, ()) {
  const auto units = *rc::gen::container<std::vector<int>>(64, rc::gen::inRange(-1000, 1001));
  std::vector<float> values;
  for (const int unit : units) values.push_back(static_cast<float>(unit) * 0.37f);
  std::string out;
  RC_ASSERT(append_weights(WeightType::kQ8_0, values, out).ok());
  RC_ASSERT(static_cast<int64_t>(out.size()) == weight_bytes(WeightType::kQ8_0, 64));
  for (size_t block = 0; block < 2; ++block) {
    const char* bytes = out.data() + block * 34;
    uint16_t scale_bits = 0;
    std::memcpy(&scale_bits, bytes, 2);
    const float scale = float_of_half(scale_bits);
    for (size_t i = 0; i < 32; ++i) {
      const float back = scale * static_cast<float>(static_cast<int8_t>(bytes[2 + i]));
      // Half a step, and what rounding the scale itself costs 127 steps.
      RC_ASSERT(std::abs(back - values[block * 32 + i]) <= scale * (0.5f + 127.0f / 2048) + 1e-6f);
    }
  }
}

TEST(Weights, ABlockOfZerosHasNoScale) {
  std::string out;
  ASSERT_TRUE(append_weights(WeightType::kQ8_0, std::vector<float>(32), out).ok());
  EXPECT_EQ(out, std::string(34, '\0'));
}

TEST(Weights, NumbersOfOthersAreWidenedExactly) {
  const std::string bf16("\x80\x3f\x00\xc0", 4);  // 1, -2
  std::vector<float> values(2);
  EXPECT_TRUE(widen_weights(TensorType::kBf16, bf16, values));
  EXPECT_THAT(values, ::testing::ElementsAre(1, -2));
  const std::string f16("\x00\x3c\x00\xc0", 4);
  EXPECT_TRUE(widen_weights(TensorType::kF16, f16, values));
  EXPECT_THAT(values, ::testing::ElementsAre(1, -2));
  EXPECT_FALSE(widen_weights(TensorType::kI16, f16, values));
}

TEST(Weights, AnUnknownTypeIsNamedWithTheNearest) {
  EXPECT_EQ(parse_weight_type("q8_0").value(), WeightType::kQ8_0);
  EXPECT_THAT(std::string(parse_weight_type("q8").status().message()),
              HasSubstr("unknown type q8 (did you mean q8_0"));
}

}  // namespace
}  // namespace rubato
