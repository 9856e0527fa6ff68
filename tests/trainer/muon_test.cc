// Muon against its formula in double precision, and what its iteration promises.
#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/trainer/inner_testing.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

using Matrix = std::vector<std::vector<double>>;

Matrix zeros(int64_t rows, int64_t cols) { return Matrix(rows, std::vector<double>(cols)); }

Matrix transposed(const Matrix& x) {
  Matrix out = zeros(x[0].size(), x.size());
  for (size_t r = 0; r < x.size(); ++r) {
    for (size_t c = 0; c < x[0].size(); ++c) out[c][r] = x[r][c];
  }
  return out;
}

Matrix times(const Matrix& a, const Matrix& b) {
  Matrix out = zeros(a.size(), b[0].size());
  for (size_t r = 0; r < a.size(); ++r) {
    for (size_t c = 0; c < b[0].size(); ++c) {
      for (size_t k = 0; k < b.size(); ++k) out[r][c] += a[r][k] * b[k][c];
    }
  }
  return out;
}

double norm(const Matrix& x) {
  double squares = 0;
  for (const auto& row : x) {
    for (double value : row) squares += value * value;
  }
  return std::sqrt(squares);
}

Matrix newton_schulz(Matrix x, int iterations) {
  const bool tall = x.size() > x[0].size();
  const double length = norm(x);
  for (auto& row : x) {
    for (double& value : row) value /= length;
  }
  if (tall) x = transposed(x);
  for (int i = 0; i < iterations; ++i) {
    const Matrix a = times(x, transposed(x)), aa = times(a, a);
    Matrix polynomial = a;
    for (size_t r = 0; r < a.size(); ++r) {
      for (size_t c = 0; c < a.size(); ++c)
        polynomial[r][c] = -4.7750 * a[r][c] + 2.0315 * aa[r][c] + (r == c ? 3.4445 : 0);
    }
    x = times(polynomial, x);
  }
  return tall ? transposed(x) : x;
}

struct Shape {
  int64_t rows, cols;
};

TEST(Muon, FollowsTheFormulaInDoublePrecision) {
  for (const Shape shape : {Shape{6, 6}, {3, 11}, {17, 5}, {1, 9}, {8, 1}, {20, 33}}) {
    for (bool nesterov : {true, false}) {
      Layout layout;
      layout.add("before", {7}, TensorRole::kNorm);
      layout.add("matrix", {shape.rows, shape.cols}, TensorRole::kMatrix);
      const int64_t size = layout.size(), at = layout.tensors()[1].offset;
      const auto muon =
          make_inner("muon", {{"momentum", 0.8}, {"weight_decay", 0.3}, {"nesterov", nesterov}});
      OwnWorkspace workspace(*muon, layout);
      InnerState state = muon->make_state(size);
      std::vector<float> params = normals(size, 1);
      std::vector<double> theta(params.begin(), params.end());
      Matrix m = zeros(shape.rows, shape.cols);
      for (int t = 1; t <= 6; ++t) {
        const std::vector<float> gradient = normals(size, 100 + t);
        const double lr = 0.01 * t, scale = 0.5;
        state.steps = t;
        muon->update(layout, 0, size, gradient, static_cast<float>(scale), lr, state, params,
                     workspace.lent());
        Matrix u = m;
        for (int64_t r = 0; r < shape.rows; ++r) {
          for (int64_t c = 0; c < shape.cols; ++c) {
            const double g = scale * double{gradient[at + r * shape.cols + c]};
            m[r][c] = 0.8 * m[r][c] + g;
            u[r][c] = nesterov ? g + 0.8 * m[r][c] : m[r][c];
          }
        }
        const Matrix o = newton_schulz(u, 5);
        const double factor =
            0.2 * std::sqrt(static_cast<double>(std::max(shape.rows, shape.cols)));
        for (int64_t r = 0; r < shape.rows; ++r) {
          for (int64_t c = 0; c < shape.cols; ++c) {
            double& want = theta[at + r * shape.cols + c];
            want = want * (1 - lr * 0.3) - lr * factor * o[r][c];
            ASSERT_NEAR(params[at + r * shape.cols + c], want, 2e-5)
                << shape.rows << " x " << shape.cols << " step " << t;
          }
        }
      }
    }
  }
}

TEST(Muon, WhatIsNoMatrixGoesByAdamW) {
  const Layout layout = four_roles(50);
  const auto muon = make_inner("muon", {});
  const auto adamw = make_inner("adamw", {});
  OwnWorkspace workspace(*muon, layout);
  InnerState a = muon->make_state(layout.size()), b = adamw->make_state(layout.size());
  std::vector<float> ours = normals(layout.size(), 1), theirs = ours;
  for (int t = 1; t <= 3; ++t) {
    const std::vector<float> gradient = normals(layout.size(), 10 + t);
    a.steps = b.steps = t;
    muon->update(layout, 0, layout.size(), gradient, 1, 1e-2, a, ours, workspace.lent());
    adamw->update(layout, 0, layout.size(), gradient, 1, 1e-2, b, theirs, {});
  }
  const int64_t rest = layout.find("embedding")->offset;
  EXPECT_TRUE(std::equal(ours.begin() + rest, ours.end(), theirs.begin() + rest));
  EXPECT_FALSE(std::equal(ours.begin(), ours.begin() + rest, theirs.begin()));
}

// With five iterations every singular value that is not tiny lands between 0.68 and 1.14, so the
// update's root mean square is near 0.2 * lr whatever the gradient's size.
TEST(Muon, UpdatesHaveTheSizeOfAdamWs) {
  for (float size_of_gradient : {1e-12F, 1.0F, 1e6F}) {
    Layout layout;
    layout.add("matrix", {24, 40}, TensorRole::kMatrix);
    const auto muon = make_inner("muon", {{"weight_decay", 0.0}});
    OwnWorkspace workspace(*muon, layout);
    InnerState state = muon->make_state(layout.size());
    std::vector<float> params(layout.size()), gradient = normals(layout.size(), 3);
    for (float& g : gradient) g *= size_of_gradient;
    state.steps = 1;
    muon->update(layout, 0, layout.size(), gradient, 1, 1.0, state, params, workspace.lent());
    double squares = 0;
    for (float value : params) squares += double{value} * double{value};
    const double root_mean_square = std::sqrt(squares / static_cast<double>(layout.size()));
    EXPECT_GT(root_mean_square, 0.2 * 0.68) << size_of_gradient;
    EXPECT_LT(root_mean_square, 0.2 * 1.14) << size_of_gradient;
  }
}

}  // namespace
}  // namespace rubato
