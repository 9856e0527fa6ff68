// Each terminal rule against its formula in double precision.
#include <cmath>

#include "tests/outer/fixtures.h"
#include "tests/outer/reference.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato::testing {
namespace {

constexpr int64_t kSize = 53;
constexpr double kRounding = 2e-6;  // a dozen float operations on values of size 1

TEST(Sgd, StepsAgainstTheDelta) {
  auto chain = make_chain(flat_layout(2), 1, {}, "sgd", {{"sgd", {{"lr", 0.5}}}});
  Floats theta = {1, 2};
  apply(*chain, {4, -2}, theta);
  EXPECT_THAT(theta, ::testing::ElementsAre(-1, 3));
  EXPECT_TRUE(state_of(*chain).empty());
}

TEST(Sgd, WithLrOneLandsOnTheWorkersParameters) {
  const Floats start = random_floats(kSize, 1), worker = random_floats(kSize, 2);
  Floats delta(start.size());
  for (size_t i = 0; i < delta.size(); ++i) delta[i] = start[i] - worker[i];
  Floats theta = start;
  apply(*make_chain(flat_layout(kSize), 1, {}, "sgd"), delta, theta);
  EXPECT_LE(relative_gap(theta, to_doubles(worker)), kRounding);
}

TEST(Momentum, IsHeavyBall) {
  auto chain =
      make_chain(flat_layout(1), 1, {}, "momentum", {{"momentum", {{"lr", 0.5}, {"beta", 0.5}}}});
  Floats theta = {0};
  apply(*chain, {4}, theta);  // m = 4
  EXPECT_EQ(theta[0], -2);
  apply(*chain, {2}, theta);  // m = 4
  EXPECT_EQ(theta[0], -4);
  apply(*chain, {0}, theta);  // m = 2
  EXPECT_EQ(theta[0], -5);
}

TEST(Momentum, BetaZeroIsSgd) {
  const OptionMap off = {{"momentum", {{"beta", 0.0}, {"lr", 0.3}}}};
  auto momentum = make_chain(flat_layout(kSize), 1, {}, "momentum", off);
  auto sgd = make_chain(flat_layout(kSize), 1, {}, "sgd", {{"sgd", {{"lr", 0.3}}}});
  Floats x = random_floats(kSize, 1), y = x;
  for (uint64_t i = 0; i < 3; ++i) {
    const Floats delta = random_floats(kSize, 10 + i);
    apply(*momentum, delta, x);
    apply(*sgd, delta, y);
  }
  EXPECT_TRUE(same_bits(x, y));
}

RC_GTEST_PROP(Nesterov, FollowsItsFormula, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const double lr = *rc::gen::inRange(1, 100) / 100.0, beta = *rc::gen::inRange(0, 99) / 100.0;
  auto chain = make_chain(flat_layout(kSize), 4, {}, "nesterov",
                          {{"nesterov", {{"lr", lr}, {"beta", beta}}}});
  Floats theta = random_floats(kSize, key);
  NesterovReference reference(lr, beta, to_doubles(theta));
  for (uint64_t i = 1; i <= 6; ++i) {
    const Floats delta = random_floats(kSize, key ^ i);
    apply(*chain, delta, theta);
    reference.step(to_doubles(delta));
  }
  RC_ASSERT(relative_gap(theta, reference.theta) <= kRounding);
}

TEST(Adam, FirstStepIsTheDeltaOverItsSizePlusEps) {
  auto chain = make_chain(flat_layout(2), 1, {}, "adam", {{"adam", {{"lr", 0.3}, {"eps", 0.1}}}});
  Floats theta = {0, 0};
  apply(*chain, {0.4f, -0.9f}, theta);
  EXPECT_NEAR(theta[0], -0.3 * 0.4 / (0.4 + 0.1), 1e-6);
  EXPECT_NEAR(theta[1], 0.3 * 0.9 / (0.9 + 0.1), 1e-6);
}

TEST(Adam, FollowsItsFormula) {
  const double lr = 0.3, b1 = 0.9, b2 = 0.99, eps = 0.1;
  auto chain = make_chain(flat_layout(kSize), 1, {}, "adam",
                          {{"adam", {{"lr", lr}, {"beta1", b1}, {"beta2", b2}, {"eps", eps}}}});
  Floats theta = random_floats(kSize, 1);
  Doubles want = to_doubles(theta), m(kSize), v(kSize);
  for (int t = 1; t <= 8; ++t) {
    const Floats delta = random_floats(kSize, static_cast<uint64_t>(10 + t));
    apply(*chain, delta, theta);
    for (size_t i = 0; i < want.size(); ++i) {
      const double g = delta[i];
      m[i] = b1 * m[i] + (1 - b1) * g;
      v[i] = b2 * v[i] + (1 - b2) * g * g;
      want[i] -=
          lr * (m[i] / (1 - std::pow(b1, t))) / (std::sqrt(v[i] / (1 - std::pow(b2, t))) + eps);
    }
  }
  EXPECT_LE(relative_gap(theta, want), kRounding);
}

RC_GTEST_PROP(DelayedNesterov, FollowsItsFormula, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const int period = *rc::gen::inRange(1, 7);
  const double c = *rc::gen::inRange(0, 11) / 10.0 / period;
  const double lr = *rc::gen::inRange(1, 100) / 100.0, beta = *rc::gen::inRange(0, 99) / 100.0;
  auto chain = make_chain(
      flat_layout(kSize), 4, {}, "delayed_nesterov",
      {{"delayed_nesterov", {{"lr", lr}, {"beta", beta}, {"c", c}, {"period", int64_t{period}}}}});
  Floats theta = random_floats(kSize, key);
  DelayedNesterovReference reference(lr, beta, c, period, to_doubles(theta));
  for (uint64_t i = 1; i <= 14; ++i) {
    const Floats delta = random_floats(kSize, key ^ i);
    RC_ASSERT(apply(*chain, delta, theta) == Verdict::kPass);
    reference.step(to_doubles(delta));
    RC_ASSERT(relative_gap(theta, reference.theta) <= kRounding);
  }
}

TEST(DelayedNesterov, PeriodOneIsNesterovBitForBitForAnyC) {
  auto nesterov = make_chain(flat_layout(kSize), 1, {}, "nesterov");
  auto delayed = make_chain(flat_layout(kSize), 1, {}, "delayed_nesterov",
                            {{"delayed_nesterov", {{"c", 0.3}}}});
  Floats x = random_floats(kSize, 1), y = x;
  for (uint64_t i = 0; i < 5; ++i) {
    const Floats delta = random_floats(kSize, 10 + i);
    apply(*nesterov, delta, x);
    apply(*delayed, delta, y);
  }
  EXPECT_TRUE(same_bits(x, y));
}

TEST(DelayedNesterov, PeriodIsTheNumberOfWorkersUnlessItIsGiven) {
  // Only a milestone moves m away from zero.
  const auto arrivals_to_milestone = [](int64_t workers, OptionMap options) {
    auto chain = make_chain(flat_layout(1), workers, {}, "delayed_nesterov", std::move(options));
    Floats theta = {0};
    const std::string rest = state_of(*chain).at("0.delayed_nesterov.m");
    for (int64_t arrival = 1;; ++arrival) {
      apply(*chain, {1}, theta);
      if (state_of(*chain).at("0.delayed_nesterov.m") != rest) return arrival;
    }
  };
  EXPECT_EQ(arrivals_to_milestone(5, {}), 5);
  EXPECT_EQ(arrivals_to_milestone(5, {{"delayed_nesterov", {{"period", int64_t{10}}}}}), 10);
}

// A chain for four workers, and what became of the model and its momentum.
struct ByGroups {
  explicit ByGroups(const char* milestone)
      : chain(make_chain(flat_layout(kSize), 4, {}, "delayed_nesterov",
                         {{"delayed_nesterov", {{"milestone", std::string(milestone)}}}})) {}
  /// Whether the update refreshed the momentum.
  bool step(const Floats& delta, bool closes_group) {
    const std::string before = state_of(*chain).at("0.delayed_nesterov.m");
    chain->apply(PlainDelta(delta), {}, {.closes_group = closes_group}, theta, nullptr);
    return state_of(*chain).at("0.delayed_nesterov.m") != before;
  }
  std::unique_ptr<OuterChain> chain;
  Floats theta = Floats(kSize, 0.0f);
};

TEST(DelayedNesterov, ByGroupsIsThePapersWhileEveryGroupIsWhole) {
  ByGroups paper("arrivals"), ours("groups");
  for (uint64_t i = 1; i <= 40; ++i) {
    const Floats delta = random_floats(kSize, i);
    const bool milestone = paper.step(delta, i % 4 == 0);
    EXPECT_EQ(milestone, i % 4 == 0);
    EXPECT_EQ(ours.step(delta, i % 4 == 0), milestone);
  }
  EXPECT_TRUE(same_bits(paper.theta, ours.theta));
}

// One member of the first group is lost: the paper's milestones lie inside groups from then on.
TEST(DelayedNesterov, ByGroupsIsInStepAgainAfterALoss) {
  ByGroups ours("groups");
  std::string milestones;
  for (const int members : {3, 4, 4, 2, 1, 1, 4}) {
    for (int i = 1; i <= members; ++i) {
      milestones += ours.step(random_floats(kSize, milestones.size()), i == members) ? 'M' : '.';
    }
    milestones += ' ';
  }
  EXPECT_EQ(milestones, "... ...M ...M .. . M ...M ");
}

TEST(DelayedNesterov, ByGroupsWaitsForTheEndOfAGroupOnlySoLong) {
  ByGroups ours("groups");
  int arrivals = 1;
  while (!ours.step(random_floats(kSize, 3), false)) ++arrivals;
  EXPECT_EQ(arrivals, 2 * 4 - 1);
}

}  // namespace
}  // namespace rubato::testing
