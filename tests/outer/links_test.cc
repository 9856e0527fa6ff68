// Each link against its formula, in front of sgd with lr 1, which shows what the link let through:
// theta moves by -g.
#include <cmath>

#include "tests/outer/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "rubato/base/flat_ops.h"

namespace rubato::testing {
namespace {

constexpr int64_t kSize = 37;

// What `links` make of a delta, observed through sgd with lr 1 from theta = 0.
Floats passed(std::vector<std::string> links, OptionMap options, int64_t workers,
              const Floats& delta, int64_t staleness = 0) {
  auto chain = make_chain(flat_layout(static_cast<int64_t>(delta.size())), workers,
                          std::move(links), "sgd", std::move(options));
  Floats theta(delta.size());
  apply(*chain, delta, theta, staleness);
  for (float& value : theta) value = 0 - value;
  return theta;
}

Status make_status(std::vector<std::string> links, std::string rule, OptionMap options,
                   int64_t workers = 4) {
  return OuterChain::make({std::move(links), std::move(rule), std::move(options)}, flat_layout(8),
                          {.num_workers = workers, .num_params = 8})
      .status();
}

TEST(Weight, ModesAreTheirNames) {
  const Floats delta = {1, -8};
  EXPECT_THAT(passed({"weight"}, {{"weight", {{"mode", std::string("inverse_k")}}}}, 4, delta),
              ::testing::ElementsAre(0.25f, -2.0f));
  EXPECT_THAT(passed({"weight"}, {}, 4, delta), ::testing::ElementsAre(0.5f, -4.0f));
  EXPECT_THAT(passed({"weight"},
                     {{"weight", {{"mode", std::string("constant")}, {"value", 0.125}}}}, 4, delta),
              ::testing::ElementsAre(0.125f, -1.0f));
}

TEST(Weight, ValueBelongsToConstantAndConstantToValue) {
  EXPECT_EQ(make_status({"weight"}, "sgd", {{"weight", {{"value", 0.5}}}}).message(),
            "[weight] value: got one with mode = \"inverse_sqrt_k\", want it with mode = "
            "\"constant\" and only there");
  EXPECT_EQ(
      make_status({"weight"}, "sgd", {{"weight", {{"mode", std::string("constant")}}}}).message(),
      "[weight] value: got none with mode = \"constant\", want it with mode = \"constant\" and "
      "only there");
}

TEST(PolynomialDiscount, IsAPowerOfOnePlusStaleness) {
  const Floats delta = {8};
  EXPECT_FLOAT_EQ(passed({"polynomial_discount"}, {}, 4, delta, 3)[0], 4);
  EXPECT_FLOAT_EQ(
      passed({"polynomial_discount"}, {{"polynomial_discount", {{"power", 2.0}}}}, 4, delta, 1)[0],
      2);
}

RC_GTEST_PROP(PolynomialDiscount, PowerZeroAndStalenessZeroAreIdentities, ()) {
  const auto delta = random_floats(kSize, *rc::gen::arbitrary<uint64_t>());
  const auto staleness = *rc::gen::inRange<int64_t>(0, 1000);
  const Floats plain = passed({}, {}, 4, delta);
  RC_ASSERT(
      same_bits(plain, passed({"polynomial_discount"}, {{"polynomial_discount", {{"power", 0.0}}}},
                              4, delta, staleness)));
  RC_ASSERT(same_bits(plain, passed({"polynomial_discount"}, {}, 4, delta, 0)));
}

TEST(Threshold, DropsWhatIsStalerAndMovesNoCounterOfEarlierStages) {
  auto chain = make_chain(flat_layout(2), 2, {"buffer", "threshold"}, "momentum");
  EXPECT_EQ(chain->max_staleness(), 10);
  Floats theta = {1, 2};
  EXPECT_EQ(apply(*chain, {1, 1}, theta, 10), Verdict::kHold);
  const StateImage before = state_of(*chain);
  EXPECT_EQ(apply(*chain, {5, 5}, theta, 11), Verdict::kDrop);
  EXPECT_EQ(state_of(*chain), before);
  EXPECT_THAT(theta, ::testing::ElementsAre(1, 2));
  EXPECT_EQ(apply(*chain, {1, 1}, theta, 0), Verdict::kPass);
}

TEST(DelayCompensation, AddsLambdaGSquaredTimesTheWayThetaHasGone) {
  auto chain = make_chain(flat_layout(2), 4, {"delay_compensation"}, "sgd",
                          {{"delay_compensation", {{"lambda", 0.5}}}});
  EXPECT_TRUE(chain->needs().task_base);
  Floats theta = {3, 1};
  const Floats base = {1, 2}, delta = {2, 4};
  chain->apply(PlainDelta(delta), base, {.staleness = 1}, theta, nullptr);
  // g' = 2 + .5*4*2 = 6 and 4 + .5*16*(-1) = -4.
  EXPECT_THAT(theta, ::testing::ElementsAre(3 - 6, 1 + 4));
}

RC_GTEST_PROP(DelayCompensation, LambdaZeroAndAFreshBaseAreIdentities, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const Floats delta = random_floats(kSize, key), start = random_floats(kSize, key ^ 1);
  const Floats other = random_floats(kSize, key ^ 2);
  Floats plain = start, off = start, fresh = start;
  apply(*make_chain(flat_layout(kSize), 4, {}, "sgd"), delta, plain);
  make_chain(flat_layout(kSize), 4, {"delay_compensation"}, "sgd",
             {{"delay_compensation", {{"lambda", 0.0}}}})
      ->apply(PlainDelta(delta), other, {}, off, nullptr);
  make_chain(flat_layout(kSize), 4, {"delay_compensation"}, "sgd")
      ->apply(PlainDelta(delta), start, {}, fresh, nullptr);
  RC_ASSERT(same_bits(plain, off));
  RC_ASSERT(same_bits(plain, fresh));
}

TEST(Buffer, LetsTheMeanOfNThrough) {
  auto chain = make_chain(flat_layout(1), 3, {"buffer"}, "sgd");
  EXPECT_EQ(chain->arrivals_per_step(), 3);
  Floats theta = {10};
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(apply(*chain, {1}, theta), Verdict::kHold);
    EXPECT_EQ(apply(*chain, {2}, theta), Verdict::kHold);
    EXPECT_EQ(apply(*chain, {6}, theta), Verdict::kPass);
  }
  EXPECT_FLOAT_EQ(theta[0], 10 - 3 - 3);
}

TEST(Buffer, SizeOverridesTheNumberOfWorkers) {
  EXPECT_EQ(make_chain(flat_layout(1), 3, {"buffer"}, "sgd", {{"buffer", {{"size", int64_t{5}}}}})
                ->arrivals_per_step(),
            5);
}

RC_GTEST_PROP(Buffer, OfOneIsAnIdentity, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  auto plain = make_chain(flat_layout(kSize), 4, {}, "nesterov");
  auto buffered = make_chain(flat_layout(kSize), 4, {"buffer"}, "nesterov",
                             {{"buffer", {{"size", int64_t{1}}}}});
  Floats x = random_floats(kSize, key), y = x;
  for (uint64_t i = 1; i <= 3; ++i) {
    const Floats delta = random_floats(kSize, key ^ i);
    RC_ASSERT(apply(*plain, delta, x) == apply(*buffered, delta, y));
  }
  RC_ASSERT(same_bits(x, y));
}

TEST(Buffer, RefusesLinksThatReadOneDeltaBehindIt) {
  EXPECT_EQ(make_status({"buffer", "polynomial_discount"}, "sgd", {}).message(),
            "[outer chain] got polynomial_discount behind buffer, want it in front; it reads facts "
            "of a single delta, not of a mean");
  EXPECT_FALSE(make_status({"buffer", "delay_compensation"}, "sgd", {}).ok());
  EXPECT_FALSE(make_status({"buffer", "clip"}, "sgd", {}).ok());
  EXPECT_TRUE(make_status({"buffer", "weight"}, "sgd", {}).ok());
  EXPECT_TRUE(make_status({"buffer", "clip"}, "sgd", {}, 1).ok()) << "N = 1 is no buffer";
}

TEST(Clip, ScalesALongDeltaToTheLargestNorm) {
  const Floats long_delta = {3, 4}, short_delta = {0.3f, 0.4f};
  const Floats clipped = passed({"clip"}, {}, 4, long_delta);
  EXPECT_NEAR(clipped[0], 0.6, 1e-7);
  EXPECT_NEAR(clipped[1], 0.8, 1e-7);
  EXPECT_TRUE(same_bits(passed({"clip"}, {}, 4, short_delta), short_delta));
}

RC_GTEST_PROP(Clip, KeepsDirectionAndNeverExceedsTheNorm, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const auto exponent = *rc::gen::inRange(-6, 7);
  const Floats delta = random_floats(3 * kBlockFloats + 5, key, std::pow(2.0, exponent));
  const double norm = l2_norm(delta), want = std::min(1.0, norm);
  const Floats clipped = passed({"clip"}, {}, 4, delta);
  RC_ASSERT(std::abs(l2_norm(clipped) - want) <= 1e-5 * want);
  RC_ASSERT(std::abs(dot(delta, clipped) - norm * want) <= 1e-5 * norm * want);
}

TEST(Clip, MeasuresTheDeltaAsItArrivedWhateverStandsInFront) {
  const OptionMap quarter = {{"weight", {{"mode", std::string("constant")}, {"value", 0.25}}}};
  const Floats delta = {3, 4};
  EXPECT_TRUE(same_bits(passed({"weight", "clip"}, quarter, 4, delta),
                        passed({"clip", "weight"}, quarter, 4, delta)));
}

TEST(Chain, LinksWorkInTheOrderTheyAreNamed) {
  const Floats base = {0}, delta = {2};
  const OptionMap half = {{"weight", {{"mode", std::string("constant")}, {"value", 0.5}}},
                          {"delay_compensation", {{"lambda", 1.0}}}};
  Floats first = {1}, second = {1};
  make_chain(flat_layout(1), 4, {"weight", "delay_compensation"}, "sgd", half)
      ->apply(PlainDelta(delta), base, {}, first, nullptr);
  make_chain(flat_layout(1), 4, {"delay_compensation", "weight"}, "sgd", half)
      ->apply(PlainDelta(delta), base, {}, second, nullptr);
  EXPECT_EQ(first[0], 1 - (1 + 1 * 1 * 1));
  EXPECT_EQ(second[0], 1 - (2 + 2 * 2 * 1) / 2);
}

TEST(Chain, RefusesWhatCannotBeMeant) {
  EXPECT_EQ(make_status({"nesterov"}, "sgd", {}).message(),
            "[outer chain] link: got nesterov, which is a terminal rule, want a link");
  EXPECT_EQ(make_status({}, "buffer", {}).message(),
            "[outer chain] rule: got buffer, which is a link, want a terminal rule");
  EXPECT_EQ(make_status({"clip", "clip"}, "sgd", {}).message(),
            "[outer chain] got clip twice, want each stage at most once");
  EXPECT_EQ(make_status({"clip"}, "sgd", {{"momentum", {{"lr", 0.1}}}}).message(),
            "[outer chain] got options for momentum, want them for stages of the chain: clip, sgd");
  EXPECT_EQ(make_status({}, "nestrov", {}).message(),
            "[outer chain] unknown rule nestrov (did you mean nesterov?)");
}

}  // namespace
}  // namespace rubato::testing
