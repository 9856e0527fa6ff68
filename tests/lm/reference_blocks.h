// The parts of the reference model, forward and backward, one sequence at a time in double
// precision. Rows are positions: a Matrix is (T, columns). Backward functions add to what they are
// given, so that paths that meet sum up by themselves.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rubato/lm/model_config.h"

namespace rubato::reference {

using Weights = std::span<const double>;
using Gradients = std::span<double>;

struct Matrix {
  int64_t rows = 0, cols = 0;
  std::vector<double> values;  // row-major

  Matrix() = default;
  Matrix(int64_t r, int64_t c) : rows(r), cols(c), values(static_cast<size_t>(r * c), 0.0) {}
  double& at(int64_t r, int64_t c) { return values[static_cast<size_t>(r * cols + c)]; }
  double at(int64_t r, int64_t c) const { return values[static_cast<size_t>(r * cols + c)]; }
};

/// y += x.
void add(const Matrix& x, Matrix& y);

/// (T, out): x W', W (out, in).
Matrix linear(const Matrix& x, Weights w, int64_t out);
/// dx += dy W, dW += dy' x.
void linear_backward(const Matrix& x, Weights w, const Matrix& dy, Matrix& dx, Gradients dw);

/// w * x / sqrt(mean(x^2) + eps), row by row.
Matrix rms_norm(const Matrix& x, Weights w, double eps);
/// With r = 1 / sqrt(mean(x^2) + eps): dx += r*w*dy - x * r^3/D * sum(w*dy*x), dw += r*x*dy.
void rms_norm_backward(const Matrix& x, Weights w, double eps, const Matrix& dy, Matrix& dx,
                       Gradients dw);

/// RoPE: turns the pair (i, i + E/2) of every head at position t by t * theta^(-2i/E). sign -1
/// turns back, which is also the backward pass of turning forth.
void rotate(Matrix& x, int64_t head_dim, double theta, double sign);

/// In place: the first `count` entries of row t become their softmax. Returns the logarithm of the
/// sum of exponentials.
double softmax(Matrix& x, int64_t t, int64_t count);

/// Causal attention (T, H*E) of rotated q (T, H*E) and k (T, K*E) over v (T, K*E), scale
/// 1/sqrt(E); query head h reads key-value head h / (H/K).
Matrix attention(const ModelConfig& config, const Matrix& q, const Matrix& k, const Matrix& v);
/// Adds to dq, dk, dv; the gradients of q and k are those of the rotated ones.
void attention_backward(const ModelConfig& config, const Matrix& q, const Matrix& k,
                        const Matrix& v, const Matrix& dmixed, Matrix& dq, Matrix& dk, Matrix& dv);

}  // namespace rubato::reference
