// What a chain measures of its updates, and that measuring changes no bit.
#include <cmath>

#include "tests/outer/fixtures.h"
#include <gtest/gtest.h>

#include "rubato/base/flat_ops.h"

namespace rubato::testing {
namespace {

double cosine(const Floats& x, const Floats& y) { return dot(x, y) / (l2_norm(x) * l2_norm(y)); }

TEST(UpdateGeometry, IsThatOfNesterovsStep) {
  const Layout layout = odd_layout();
  auto chain = make_chain(layout, 4, {"weight"}, "nesterov");  // weight 1/2, lr 0.7, beta 0.9
  chain->measure_updates();
  const Floats first = random_floats(layout.size(), 1), second = random_floats(layout.size(), 2);
  Floats theta(first.size());
  apply(*chain, first, theta);
  EXPECT_TRUE(std::isnan(chain->last_update().momentum_cosine));
  EXPECT_EQ(chain->last_update().momentum_norm, 0);
  // From m = 0 the step is lr * (1 + beta) * g.
  EXPECT_NEAR(chain->last_update().step_norm, 0.7 * 1.9 * l2_norm(first) / 2, 1e-4);

  const Floats before = theta;
  apply(*chain, second, theta);
  const UpdateGeometry& update = chain->last_update();
  EXPECT_NEAR(update.momentum_cosine, cosine(first, second), 1e-6);
  EXPECT_NEAR(update.momentum_norm, l2_norm(first) / 2, 1e-4);
  Floats step(theta.size());
  subtract(before, theta, step);
  EXPECT_NEAR(update.step_norm, l2_norm(step), 1e-6);
  // The gain is the step along g in units of lr * g: g is half of the delta.
  const double along = dot(step, second) / dot(second, second) / (0.7 * 0.5);
  EXPECT_NEAR(update.aligned_gain, along, 1e-4);
}

TEST(UpdateGeometry, TheSameDeltaAgainGainsWhatMomentumHasGathered) {
  auto chain = make_chain(flat_layout(100), 1, {}, "nesterov");
  chain->measure_updates();
  const Floats g = random_floats(100, 1);
  Floats theta(g.size());
  for (int i = 0; i < 100; ++i) apply(*chain, g, theta);
  EXPECT_NEAR(chain->last_update().momentum_cosine, 1, 1e-6);
  EXPECT_NEAR(chain->last_update().aligned_gain, 1 / (1 - 0.9), 1e-2);
}

TEST(UpdateGeometry, WithoutMomentumThereIsOnlyTheStep) {
  auto chain = make_chain(flat_layout(100), 1, {}, "sgd", {{"sgd", {{"lr", 0.5}}}});
  chain->measure_updates();
  const Floats g = random_floats(100, 1);
  Floats theta(g.size());
  apply(*chain, g, theta);
  EXPECT_NEAR(chain->last_update().step_norm, 0.5 * l2_norm(g), 1e-5);
  EXPECT_TRUE(std::isnan(chain->last_update().momentum_norm));
  EXPECT_TRUE(std::isnan(chain->last_update().aligned_gain));
}

TEST(UpdateGeometry, AnUpdateThatALinkHoldsMovesNothing) {
  auto chain = make_chain(flat_layout(100), 2, {"buffer"}, "nesterov");
  chain->measure_updates();
  const Floats g = random_floats(100, 1);
  Floats theta(g.size());
  EXPECT_EQ(apply(*chain, g, theta), Verdict::kHold);
  EXPECT_EQ(chain->last_update().step_norm, 0);
  EXPECT_TRUE(std::isnan(chain->last_update().momentum_norm));
  EXPECT_EQ(apply(*chain, g, theta), Verdict::kPass);
  EXPECT_GT(chain->last_update().step_norm, 0);
}

TEST(UpdateGeometry, MeasuringChangesNoBitAndThreadsChangeNoMeasure) {
  const Layout layout = wide_layout();
  for (const char* rule : {"sgd", "momentum", "nesterov", "delayed_nesterov", "adam"}) {
    auto plain = make_chain(layout, 3, {"weight"}, rule);
    auto measured = make_chain(layout, 3, {"weight"}, rule);
    auto threaded = make_chain(layout, 3, {"weight"}, rule);
    measured->measure_updates();
    threaded->measure_updates();
    ThreadPool pool(3);
    Floats a = random_floats(layout.size(), 9), b = a, c = a;
    for (uint64_t i = 0; i < 7; ++i) {
      const Floats delta = random_floats(layout.size(), i);
      apply(*plain, delta, a);
      apply(*measured, delta, b);
      threaded->apply(PlainDelta(delta), {}, {}, c, &pool);
      EXPECT_EQ(measured->last_update().step_norm, threaded->last_update().step_norm) << rule;
    }
    EXPECT_TRUE(same_bits(a, b)) << rule;
    EXPECT_TRUE(same_bits(a, c)) << rule;
    EXPECT_EQ(state_of(*plain), state_of(*measured)) << rule;
  }
}

}  // namespace
}  // namespace rubato::testing
