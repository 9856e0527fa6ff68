// SGD against its formula in double precision.
#include <cmath>

#include "tests/trainer/inner_testing.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

void expect_formula(double momentum, double decay) {
  const Layout layout = four_roles(50);
  const int64_t size = layout.size();
  const auto sgd = make_inner("sgd", {{"momentum", momentum}, {"weight_decay", decay}});
  InnerState state = sgd->make_state(size);
  std::vector<float> params = normals(size, 1);
  std::vector<double> theta(params.begin(), params.end()), m(size);
  for (int t = 1; t <= 20; ++t) {
    const std::vector<float> gradient = normals(size, 200 + t);
    const double lr = 0.02;
    state.steps = t;
    sgd->update(layout, 0, size, gradient, 0.5F, lr, state, params, {});
    for (int64_t i = 0; i < size; ++i) {
      m[i] = momentum * m[i] + 0.5 * static_cast<double>(gradient[i]);
      theta[i] -= lr * ((i < 100 ? decay : 0.0) * theta[i] + m[i]);
      ASSERT_NEAR(params[i], theta[i], 2e-6 * (1 + std::abs(theta[i]))) << "step " << t;
    }
  }
}

TEST(Sgd, PlainFollowsTheFormula) { expect_formula(0, 0); }
TEST(Sgd, MomentumFollowsTheFormula) { expect_formula(0.9, 0); }
TEST(Sgd, DecaySparesNormsAndBiases) { expect_formula(0.5, 0.4); }

TEST(Sgd, WithoutMomentumThereIsNoState) {
  EXPECT_EQ(make_inner("sgd", {})->num_planes(), 0);
  EXPECT_EQ(make_inner("sgd", {{"momentum", 0.9}})->num_planes(), 1);
}

}  // namespace
}  // namespace rubato
