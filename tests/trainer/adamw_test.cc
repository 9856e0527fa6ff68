// AdamW against its formula: in double precision for the values, in plain float for the bits.
#include <cmath>

#include "tests/trainer/inner_testing.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(AdamW, FollowsTheFormulaInDoublePrecision) {
  const Layout layout = four_roles(50);
  const int64_t size = layout.size();
  const auto adamw = make_inner("adamw", {{"beta1", 0.8}, {"beta2", 0.9}, {"weight_decay", 0.3}});
  InnerState state = adamw->make_state(size);
  std::vector<float> params = normals(size, 1);
  std::vector<double> theta(params.begin(), params.end()), m(size), v(size);
  for (int t = 1; t <= 20; ++t) {
    const std::vector<float> gradient = normals(size, 100 + t);
    const double lr = 0.01 * t, scale = 0.5;
    state.steps = t;
    adamw->update(layout, 0, size, gradient, static_cast<float>(scale), lr, state, params, {});
    for (int64_t i = 0; i < size; ++i) {
      const double g = scale * static_cast<double>(gradient[i]);
      m[i] = 0.8 * m[i] + 0.2 * g;
      v[i] = 0.9 * v[i] + 0.1 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.8, t));
      const double v_hat = v[i] / (1 - std::pow(0.9, t));
      const double decay = i < 100 ? 0.3 : 0.0;  // matrix and embedding come first
      theta[i] -= lr * decay * theta[i] + lr * m_hat / (std::sqrt(v_hat) + 1e-8);
      ASSERT_NEAR(params[i], theta[i], 2e-6 * (1 + std::abs(theta[i]))) << "step " << t;
    }
  }
}

TEST(AdamW, FirstStepIsTheSignOfTheGradient) {
  const Layout layout = four_roles(4);
  const auto adamw = make_inner("adamw", {{"weight_decay", 0.0}});
  InnerState state = adamw->make_state(layout.size());
  std::vector<float> params(layout.size(), 1.0F);
  std::vector<float> gradient = normals(layout.size(), 3);
  state.steps = 1;
  adamw->update(layout, 0, layout.size(), gradient, 1.0F, 0.125, state, params, {});
  for (int64_t i = 0; i < layout.size(); ++i)
    EXPECT_NEAR(params[i], gradient[i] > 0 ? 0.875 : 1.125, 1e-6);
}

// This file is compiled for the baseline processor: equal bits mean that the wide versions of the
// kernel neither contract nor approximate.
TEST(AdamW, WideKernelsGiveTheBitsOfThePlainLoop) {
  Layout layout;
  layout.add("w", {1003}, TensorRole::kMatrix);
  const int64_t size = layout.size();
  const auto adamw = make_inner("adamw", {});
  InnerState state = adamw->make_state(size);
  std::vector<float> params = normals(size, 5);
  std::vector<float> theta = params, m(size), v(size);
  const double lr = 3e-3;
  for (int t = 1; t <= 5; ++t) {
    const std::vector<float> gradient = normals(size, 40 + t);
    state.steps = t;
    adamw->update(layout, 0, size, gradient, 0.25F, lr, state, params, {});
    const float rate = static_cast<float>(lr / (1 - std::pow(0.9, t)));
    const float root_rate = static_cast<float>(1 / std::sqrt(1 - std::pow(0.95, t)));
    const float keep = static_cast<float>(1 - lr * 0.1);
    for (int64_t i = 0; i < size; ++i) {
      const float g = 0.25F * gradient[i];
      m[i] = 0.9F * m[i] + static_cast<float>(1 - 0.9) * g;
      v[i] = 0.95F * v[i] + static_cast<float>(1 - 0.95) * (g * g);
      theta[i] = keep * theta[i] - rate * m[i] / (std::sqrt(v[i]) * root_rate + 1e-8F);
    }
    ASSERT_EQ(params, theta) << "step " << t;
  }
}

}  // namespace
}  // namespace rubato
