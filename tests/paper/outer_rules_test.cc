// What the paper (arXiv:2401.09135) says about its outer rules, one test a claim, restated in our
// words. Deltas are imposed, not trained: these are statements about the rules alone.
#include <cmath>

#include "tests/outer/fixtures.h"
#include "tests/outer/reference.h"
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato::testing {
namespace {

constexpr int64_t kSize = 41;
constexpr double kRounding = 4e-6;

struct Draw {
  uint64_t key = *rc::gen::arbitrary<uint64_t>();
  int period = *rc::gen::inRange(2, 9);
  double lr = *rc::gen::inRange(5, 100) / 100.0;
  double beta = *rc::gen::inRange(0, 96) / 100.0;

  Floats delta(int i) const { return random_floats(kSize, key ^ static_cast<uint64_t>(i + 1)); }
  Floats start() const { return random_floats(kSize, key); }
  std::unique_ptr<OuterChain> nesterov(std::vector<std::string> links = {}) const {
    return make_chain(flat_layout(kSize), period, std::move(links), "nesterov",
                      {{"nesterov", {{"lr", lr}, {"beta", beta}}}});
  }
  std::unique_ptr<OuterChain> delayed(double c) const {
    return make_chain(flat_layout(kSize), period, {}, "delayed_nesterov",
                      {{"delayed_nesterov", {{"lr", lr}, {"beta", beta}, {"c", c}}}});
  }
};

std::vector<float> plane_of(OuterChain& chain, const std::string& name) {
  const std::string bytes = state_of(chain).at(name);
  std::vector<float> plane(bytes.size() / sizeof(float));
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(plane.data()));
  return plane;
}

// Equation 4: momentum is refreshed first, and the step looks ahead along the refreshed momentum.
TEST(PaperRules, Equation4NesterovLooksAheadAlongTheFreshMomentum) {
  auto chain =
      make_chain(flat_layout(1), 1, {}, "nesterov", {{"nesterov", {{"lr", 0.5}, {"beta", 0.5}}}});
  Floats theta = {0};
  apply(*chain, {4}, theta);  // m = 4, step .5*(2 + 4)
  EXPECT_EQ(theta[0], -3);
  apply(*chain, {2}, theta);  // m = 4, step .5*(2 + 2)
  EXPECT_EQ(theta[0], -5);
}

// Equation 5: four equal pseudo-gradients applied one after another move theta by powers of beta of
// the gradient and of the old momentum, far more than one step on their mean.
RC_GTEST_PROP(PaperRules, Equation5FourSequentialNesterovSteps, ()) {
  const Draw draw;
  const double b = draw.beta;
  auto chain = draw.nesterov();
  Floats theta = draw.start();
  apply(*chain, draw.delta(0), theta);  // so that the momentum is not zero
  const Doubles before = to_doubles(theta), m = to_doubles(plane_of(*chain, "0.nesterov.m"));
  const Floats g = draw.delta(1);
  Doubles want = before;
  const double of_g = 4 + 4 * b + 3 * b * b + 2 * b * b * b + b * b * b * b;
  const double of_m = b * b * (1 + b + b * b + b * b * b);
  for (size_t i = 0; i < want.size(); ++i) want[i] -= draw.lr * (of_g * g[i] + of_m * m[i]);
  for (int i = 0; i < 4; ++i) apply(*chain, g, theta);
  RC_ASSERT(relative_gap(theta, want) <= kRounding);
}

// Section on the optimization challenge: sequential momentum, not the size of the deltas, is what
// differs. Even with weight 1/k the sequential steps carry the old momentum further than sync does.
TEST(PaperRules, SequentialMomentumTravelsFurtherOnOldMomentumThanOneSynchronousStep) {
  const int k = 4;
  const auto travelled = [&](bool sequential) {
    auto chain =
        make_chain(flat_layout(1), k, {}, "nesterov", {{"nesterov", {{"lr", 1.0}, {"beta", 0.9}}}});
    Floats theta = {0};
    apply(*chain, {1}, theta);  // old momentum 1
    const float before = theta[0];
    for (int i = 0; i < (sequential ? k : 1); ++i) apply(*chain, {0}, theta);
    return static_cast<double>(before - theta[0]);
  };
  EXPECT_NEAR(travelled(false), 0.81, 1e-6);
  EXPECT_NEAR(travelled(true), 0.81 * (1 + 0.9 + 0.81 + 0.729), 1e-6);
}

// Algorithm 3, c = 0: a whole period of arrivals is one Nesterov step on their mean, in theta and
// in momentum, whatever the deltas are.
RC_GTEST_PROP(PaperRules, Algorithm3APeriodIsOneNesterovStepOnTheMean, ()) {
  const Draw draw;
  auto chain = draw.delayed(0);
  Floats theta = draw.start();
  NesterovReference sync(draw.lr, draw.beta, to_doubles(theta));
  for (int round = 0; round < 4; ++round) {
    std::vector<Doubles> group;
    for (int i = 0; i < draw.period; ++i) {
      const Floats delta = draw.delta(round * draw.period + i);
      apply(*chain, delta, theta);
      group.push_back(to_doubles(delta));
    }
    sync.step(mean_of(group));
    RC_ASSERT(relative_gap(theta, sync.theta) <= kRounding);
    RC_ASSERT(relative_gap(plane_of(*chain, "0.delayed_nesterov.m"), sync.m) <= kRounding);
  }
}

// Algorithm 3, c > 0, the same deltas imposed and momentum from zero: at a round's end the momentum
// is the synchronous one, and theta lags by lr*c*(N-1)*beta*m: the last milestone has spread its
// momentum step over arrivals still to come.
RC_GTEST_PROP(PaperRules, Algorithm3SpreadMomentumLagsByOnePeriodsShare, ()) {
  const Draw draw;
  const int n = draw.period;
  const double c = *rc::gen::inRange(1, 11) / 10.0 / n;
  auto chain = draw.delayed(c);
  Floats theta = draw.start();
  NesterovReference sync(draw.lr, draw.beta, to_doubles(theta));
  for (int round = 0; round < 4; ++round) {
    std::vector<Doubles> group;
    for (int i = 0; i < n; ++i) {
      const Floats delta = draw.delta(round * n + i);
      apply(*chain, delta, theta);
      group.push_back(to_doubles(delta));
    }
    sync.step(mean_of(group));
    Doubles want = sync.theta;
    for (size_t i = 0; i < want.size(); ++i)
      want[i] += draw.lr * c * (n - 1) * draw.beta * sync.m[i];
    RC_ASSERT(relative_gap(theta, want) <= kRounding);
    RC_ASSERT(relative_gap(plane_of(*chain, "0.delayed_nesterov.m"), sync.m) <= kRounding);
  }
}

// Algorithm 3, c = 0: between milestones an arrival moves theta by lr*g/N and leaves the momentum
// alone. (Moving by lr*g would count every delta twice over a period.)
RC_GTEST_PROP(PaperRules, Algorithm3BetweenMilestonesTheStepIsOneNthOfTheDelta, ()) {
  const Draw draw;
  auto chain = draw.delayed(0);
  Floats theta = draw.start();
  for (int i = 0; i < draw.period; ++i) apply(*chain, draw.delta(i), theta);
  const auto m = plane_of(*chain, "0.delayed_nesterov.m");
  for (int i = 0; i + 1 < draw.period; ++i) {
    const Floats g = draw.delta(100 + i);
    Doubles want = to_doubles(theta);
    for (size_t j = 0; j < want.size(); ++j) want[j] -= draw.lr * g[j] / draw.period;
    apply(*chain, g, theta);
    RC_ASSERT(relative_gap(theta, want) <= 1e-6);
    RC_ASSERT(same_bits(plane_of(*chain, "0.delayed_nesterov.m"), m));
  }
}

// Algorithm 3: c lies in [0, 1/N]; with c = 1/N the momentum step is spread evenly over a period.
TEST(PaperRules, Algorithm3CLiesBetweenZeroAndOneOverN) {
  const auto status = [](double c) {
    return OuterChain::make({{}, "delayed_nesterov", {{"delayed_nesterov", {{"c", c}}}}},
                            flat_layout(1), {.num_workers = 4, .num_params = 1})
        .status();
  };
  EXPECT_TRUE(status(0).ok());
  EXPECT_TRUE(status(0.25).ok());
  EXPECT_EQ(status(0.26).message(),
            "[delayed_nesterov] c: got 0.26, want a number in [0, 1/N] = [0, 0.25] for N = 4");

  auto chain = make_chain(flat_layout(1), 4, {}, "delayed_nesterov",
                          {{"delayed_nesterov", {{"lr", 1.0}, {"beta", 0.5}, {"c", 0.25}}}});
  Floats theta = {0};
  for (float g : {0.0f, 0.0f, 0.0f, 8.0f}) apply(*chain, {g}, theta);  // m = 2 at the milestone
  EXPECT_EQ(theta[0], -(0.25f * 0.5f * 2 + 8.0f / 4));
  for (int i = 1; i <= 3; ++i) {  // three more quarters of beta*m
    const float before = theta[0];
    apply(*chain, {0}, theta);
    EXPECT_EQ(before - theta[0], 0.25f * 0.5f * 2);
  }
}

// Algorithm 3: a slower worker's delta, made of fewer steps, is not weighted again: neither in
// theta nor in the momentum that the next milestone makes of it.
TEST(PaperRules, Algorithm3DoesNotWeighByStepsOrStaleness) {
  const auto fast = make_chain(flat_layout(kSize), 4, {}, "delayed_nesterov");
  const auto slow = make_chain(flat_layout(kSize), 4, {}, "delayed_nesterov");
  Floats by_fast = random_floats(kSize, 1), by_slow = by_fast;
  for (uint64_t i = 0; i < 9; ++i) {  // two periods and a bit
    const Floats delta = random_floats(kSize, 10 + i);
    fast->apply(PlainDelta(delta), {}, {.staleness = 0, .tokens = 50 * 4096, .steps = 50}, by_fast,
                nullptr);
    slow->apply(PlainDelta(delta), {}, {.staleness = 9, .tokens = 8 * 4096, .steps = 8}, by_slow,
                nullptr);
    EXPECT_TRUE(same_bits(by_fast, by_slow)) << "arrival " << i;
  }
  EXPECT_EQ(state_of(*fast), state_of(*slow));
}

// Baselines: a buffer of k deltas in front of Nesterov is the synchronous rule on the same deltas.
RC_GTEST_PROP(PaperRules, BufferOfAllWorkersIsTheSynchronousRule, ()) {
  const Draw draw;
  auto chain = draw.nesterov({"buffer"});
  Floats theta = draw.start();
  NesterovReference sync(draw.lr, draw.beta, to_doubles(theta));
  for (int round = 0; round < 3; ++round) {
    std::vector<Doubles> group;
    for (int i = 0; i < draw.period; ++i) {
      const Floats delta = draw.delta(round * draw.period + i);
      apply(*chain, delta, theta);
      group.push_back(to_doubles(delta));
    }
    sync.step(mean_of(group));
    RC_ASSERT(relative_gap(theta, sync.theta) <= kRounding);
  }
}

// Baselines: polynomial discount (1 + staleness)^-1/2, and with a threshold of 10 the eleventh
// version is discarded.
TEST(PaperRules, PolynomialDiscountWithThreshold) {
  auto chain = make_chain(flat_layout(1), 4, {"threshold", "polynomial_discount"}, "sgd");
  for (int64_t staleness = 0; staleness <= 12; ++staleness) {
    Floats theta = {0};
    const Verdict verdict = apply(*chain, {1}, theta, staleness);
    EXPECT_EQ(verdict, staleness > 10 ? Verdict::kDrop : Verdict::kPass);
    const double want = staleness > 10 ? 0 : 1 / std::sqrt(1.0 + static_cast<double>(staleness));
    EXPECT_NEAR(-theta[0], want, 1e-7);
  }
}

// k = 1: without other workers asynchronous delayed Nesterov, the buffer and synchronous Nesterov
// are one algorithm.
TEST(PaperRules, ALoneWorkerMakesAllOfThemTheSame) {
  std::vector<Floats> ends;
  for (const auto& [links, rule] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{{{}, "nesterov"},
                                                                     {{"buffer"}, "nesterov"},
                                                                     {{"weight"}, "nesterov"},
                                                                     {{}, "delayed_nesterov"}}) {
    auto chain = make_chain(flat_layout(kSize), 1, links, rule);
    Floats theta = random_floats(kSize, 1);
    for (uint64_t i = 0; i < 5; ++i) apply(*chain, random_floats(kSize, 10 + i), theta);
    ends.push_back(theta);
  }
  for (const Floats& end : ends) EXPECT_TRUE(same_bits(end, ends[0]));
}

}  // namespace
}  // namespace rubato::testing
