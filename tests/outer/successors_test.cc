// The published successors of delayed Nesterov: each against its formula, and against what it must
// be when what is new about it is switched off.
#include <cmath>
#include <numbers>

#include "tests/outer/fixtures.h"
#include "tests/outer/reference.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato::testing {
namespace {

constexpr int64_t kSize = 53;
constexpr double kRounding = 2e-6;  // a dozen float operations on values of size 1

// ---- mla

RC_GTEST_PROP(Mla, FollowsItsFormulaAndLooksAheadAlongItsMomentum, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const double lr = *rc::gen::inRange(1, 100) / 100.0, gamma = *rc::gen::inRange(0, 99) / 100.0;
  auto chain =
      make_chain(flat_layout(kSize), 4, {}, "mla", {{"mla", {{"lr", lr}, {"gamma", gamma}}}});
  RC_ASSERT(chain->needs().looks_ahead);
  Floats theta = random_floats(kSize, key);
  Doubles want = to_doubles(theta), m(kSize);
  for (uint64_t i = 1; i <= 6; ++i) {
    const Floats delta = random_floats(kSize, key ^ i);
    apply(*chain, delta, theta);
    Floats ahead = theta;
    chain->dispatch_point(ahead, nullptr);
    Doubles want_ahead = want;
    for (size_t j = 0; j < want.size(); ++j) {
      m[j] = gamma * m[j] + (1 - gamma) * delta[j];
      want[j] -= lr * (gamma * m[j] + delta[j]);
      want_ahead[j] = want[j] - lr * gamma * m[j];
    }
    RC_ASSERT(relative_gap(theta, want) <= kRounding);
    RC_ASSERT(relative_gap(ahead, want_ahead) <= kRounding);
  }
}

TEST(Mla, GammaZeroIsSgdBitForBit) {
  auto mla = make_chain(flat_layout(kSize), 1, {}, "mla", {{"mla", {{"gamma", 0.0}, {"lr", 0.3}}}});
  auto sgd = make_chain(flat_layout(kSize), 1, {}, "sgd", {{"sgd", {{"lr", 0.3}}}});
  Floats x = random_floats(kSize, 1), y = x;
  for (uint64_t i = 0; i < 4; ++i) {
    const Floats delta = random_floats(kSize, 10 + i);
    apply(*mla, delta, x);
    apply(*sgd, delta, y);
    Floats ahead = x;
    mla->dispatch_point(ahead, nullptr);
    EXPECT_TRUE(same_bits(ahead, x)) << "nothing to look ahead along";
  }
  EXPECT_TRUE(same_bits(x, y));
}

TEST(Mla, WhereWorkersStartDoesNotChangeTheRule) {
  auto ahead = make_chain(flat_layout(kSize), 1, {}, "mla");
  auto at_theta =
      make_chain(flat_layout(kSize), 1, {}, "mla", {{"mla", {{"dispatch", std::string("theta")}}}});
  EXPECT_FALSE(at_theta->needs().looks_ahead);
  Floats x = random_floats(kSize, 1), y = x;
  for (uint64_t i = 0; i < 4; ++i) {
    const Floats delta = random_floats(kSize, 10 + i);
    apply(*ahead, delta, x);
    apply(*at_theta, delta, y);
  }
  EXPECT_TRUE(same_bits(x, y));
  Floats start = y;
  at_theta->dispatch_point(start, nullptr);
  EXPECT_TRUE(same_bits(start, y));
  ahead->dispatch_point(start, nullptr);
  EXPECT_FALSE(same_bits(start, y));
}

// ---- age_gate

// The factor that `link` puts on a delta of 1.
double factor(OuterChain& chain, const UpdateFacts& facts) {
  Floats theta = {0};
  chain.apply(PlainDelta(Floats{1}), {}, facts, theta, nullptr);
  return -static_cast<double>(theta[0]);
}

TEST(AgeGate, IsACosineTimesAnExponential) {
  auto chain = make_chain(flat_layout(1), 4, {"age_gate"}, "sgd",
                          {{"age_gate", {{"alpha", 0.2}, {"s_cut", 8.0}}}});
  for (int64_t s = 0; s <= 10; ++s) {
    const double gate =
        0.5 * (1 + std::cos(std::numbers::pi * std::min(static_cast<double>(s) / 8, 1.0)));
    EXPECT_NEAR(factor(*chain, {.staleness = s}), gate * std::exp(-0.2 * static_cast<double>(s)),
                1e-7)
        << s;
  }
  EXPECT_EQ(factor(*chain, {.staleness = 8}), 0);
}

TEST(AgeGate, CutsAtFourTimesTheNumberOfWorkersUnlessToldOtherwise) {
  for (const int64_t workers : {1, 4, 16}) {
    auto chain = make_chain(flat_layout(1), workers, {"age_gate"}, "sgd");
    EXPECT_EQ(factor(*chain, {.staleness = 4 * workers}), 0);
    EXPECT_GT(factor(*chain, {.staleness = 4 * workers - 1}), 0);
  }
  auto sixteen =
      make_chain(flat_layout(1), 16, {"age_gate"}, "sgd", {{"age_gate", {{"alpha", 0.0}}}});
  EXPECT_GE(factor(*sixteen, {.staleness = 15}), 0.85);
}

RC_GTEST_PROP(AgeGate, WithoutDecayAndCutIsAdam, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  auto gated = make_chain(flat_layout(kSize), 4, {"age_gate"}, "adam",
                          {{"age_gate", {{"alpha", 0.0}, {"s_cut", 1e9}}}});
  auto adam = make_chain(flat_layout(kSize), 4, {}, "adam");
  Floats x = random_floats(kSize, key), y = x;
  for (uint64_t i = 1; i <= 4; ++i) {
    const auto staleness = *rc::gen::inRange<int64_t>(0, 10);
    const Floats delta = random_floats(kSize, key ^ i);
    apply(*gated, delta, x, staleness);
    apply(*adam, delta, y, staleness);
  }
  RC_ASSERT(same_bits(x, y));
}

// ---- token_weight

TEST(TokenWeight, IsTokensByTheirMeanSoFar) {
  auto chain = make_chain(flat_layout(1), 4, {"token_weight"}, "sgd");
  EXPECT_EQ(factor(*chain, {.tokens = 300}), 1);
  EXPECT_EQ(factor(*chain, {.tokens = 100}), 0.5);   // mean 200
  EXPECT_EQ(factor(*chain, {.tokens = 200}), 1);     // mean 200
  EXPECT_EQ(factor(*chain, {.tokens = 1000}), 2.5);  // mean 400
}

RC_GTEST_PROP(TokenWeight, EqualTokensChangeNoBit, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const auto tokens = *rc::gen::inRange<int64_t>(0, 10'000'000);
  auto weighted = make_chain(flat_layout(kSize), 4, {"token_weight"}, "nesterov");
  auto plain = make_chain(flat_layout(kSize), 4, {}, "nesterov");
  Floats x = random_floats(kSize, key), y = x;
  for (uint64_t i = 1; i <= 5; ++i) {
    const Floats delta = random_floats(kSize, key ^ i);
    weighted->apply(PlainDelta(delta), {}, {.tokens = tokens}, x, nullptr);
    plain->apply(PlainDelta(delta), {}, {.tokens = tokens}, y, nullptr);
  }
  RC_ASSERT(same_bits(x, y));
}

}  // namespace
}  // namespace rubato::testing
