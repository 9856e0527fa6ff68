#include "tests/lm/reference_blocks.h"

#include <algorithm>
#include <cmath>

namespace rubato::reference {
namespace {

double inverse_rms(const Matrix& x, int64_t t, double eps) {
  double squares = 0;
  for (int64_t i = 0; i < x.cols; ++i) squares += x.at(t, i) * x.at(t, i);
  return 1 / std::sqrt(squares / static_cast<double>(x.cols) + eps);
}

// Causal softmax(q k' / sqrt(E)) of query head h, (T, T); q (T, H*E) and k (T, K*E) rotated.
Matrix attention_shares(const ModelConfig& c, const Matrix& q, const Matrix& k, int64_t h) {
  const int64_t kv = h / (c.heads / c.kv_heads);
  const double scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  Matrix shares(q.rows, q.rows);
  for (int64_t t = 0; t < q.rows; ++t) {
    for (int64_t s = 0; s <= t; ++s) {
      double sum = 0;
      for (int64_t e = 0; e < c.head_dim; ++e)
        sum += q.at(t, h * c.head_dim + e) * k.at(s, kv * c.head_dim + e);
      shares.at(t, s) = sum * scale;
    }
    softmax(shares, t, t + 1);
  }
  return shares;
}

}  // namespace

void add(const Matrix& x, Matrix& y) {
  for (size_t i = 0; i < x.values.size(); ++i) y.values[i] += x.values[i];
}

Matrix linear(const Matrix& x, Weights w, int64_t out) {
  Matrix y(x.rows, out);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < x.cols; ++i) sum += x.at(t, i) * w[o * x.cols + i];
      y.at(t, o) = sum;
    }
  }
  return y;
}

void linear_backward(const Matrix& x, Weights w, const Matrix& dy, Matrix& dx, Gradients dw) {
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t o = 0; o < dy.cols; ++o) {
      for (int64_t i = 0; i < x.cols; ++i) {
        dx.at(t, i) += dy.at(t, o) * w[o * x.cols + i];
        dw[o * x.cols + i] += dy.at(t, o) * x.at(t, i);
      }
    }
  }
}

Matrix rms_norm(const Matrix& x, Weights w, double eps) {
  Matrix y(x.rows, x.cols);
  for (int64_t t = 0; t < x.rows; ++t) {
    const double r = inverse_rms(x, t, eps);
    for (int64_t i = 0; i < x.cols; ++i) y.at(t, i) = w[i] * x.at(t, i) * r;
  }
  return y;
}

void rms_norm_backward(const Matrix& x, Weights w, double eps, const Matrix& dy, Matrix& dx,
                       Gradients dw) {
  for (int64_t t = 0; t < x.rows; ++t) {
    const double r = inverse_rms(x, t, eps);
    double projection = 0;
    for (int64_t i = 0; i < x.cols; ++i) {
      projection += w[i] * dy.at(t, i) * x.at(t, i);
      dw[i] += dy.at(t, i) * x.at(t, i) * r;
    }
    const double pull = projection * r * r * r / static_cast<double>(x.cols);
    for (int64_t i = 0; i < x.cols; ++i) dx.at(t, i) += r * w[i] * dy.at(t, i) - x.at(t, i) * pull;
  }
}

void rotate(Matrix& x, int64_t head_dim, double theta, double sign) {
  const int64_t half = head_dim / 2;
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t head = 0; head < x.cols; head += head_dim) {
      for (int64_t i = 0; i < half; ++i) {
        const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
        const double angle = sign * static_cast<double>(t) * std::pow(theta, exponent);
        const double a = x.at(t, head + i), b = x.at(t, head + i + half);
        x.at(t, head + i) = a * std::cos(angle) - b * std::sin(angle);
        x.at(t, head + i + half) = a * std::sin(angle) + b * std::cos(angle);
      }
    }
  }
}

double softmax(Matrix& x, int64_t t, int64_t count) {
  double largest = x.at(t, 0);
  for (int64_t i = 1; i < count; ++i) largest = std::max(largest, x.at(t, i));
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += std::exp(x.at(t, i) - largest);
  for (int64_t i = 0; i < count; ++i) x.at(t, i) = std::exp(x.at(t, i) - largest) / sum;
  return largest + std::log(sum);
}

Matrix attention(const ModelConfig& c, const Matrix& q, const Matrix& k, const Matrix& v) {
  Matrix mixed(q.rows, q.cols);
  for (int64_t h = 0; h < c.heads; ++h) {
    const int64_t kv = h / (c.heads / c.kv_heads);
    const Matrix shares = attention_shares(c, q, k, h);
    for (int64_t t = 0; t < q.rows; ++t) {
      for (int64_t s = 0; s <= t; ++s) {
        for (int64_t e = 0; e < c.head_dim; ++e)
          mixed.at(t, h * c.head_dim + e) += shares.at(t, s) * v.at(s, kv * c.head_dim + e);
      }
    }
  }
  return mixed;
}

// Softmax backward: dscore = share * (dshare - sum share*dshare).
void attention_backward(const ModelConfig& c, const Matrix& q, const Matrix& k, const Matrix& v,
                        const Matrix& dmixed, Matrix& dq, Matrix& dk, Matrix& dv) {
  const double scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  for (int64_t h = 0; h < c.heads; ++h) {
    const int64_t at = h * c.head_dim, kv = h / (c.heads / c.kv_heads) * c.head_dim;
    const Matrix shares = attention_shares(c, q, k, h);
    for (int64_t t = 0; t < q.rows; ++t) {
      std::vector<double> dshare(static_cast<size_t>(t + 1), 0.0);
      double mean = 0;
      for (int64_t s = 0; s <= t; ++s) {
        for (int64_t e = 0; e < c.head_dim; ++e) {
          dshare[s] += dmixed.at(t, at + e) * v.at(s, kv + e);
          dv.at(s, kv + e) += shares.at(t, s) * dmixed.at(t, at + e);
        }
        mean += shares.at(t, s) * dshare[s];
      }
      for (int64_t s = 0; s <= t; ++s) {
        const double dscore = shares.at(t, s) * (dshare[s] - mean) * scale;
        for (int64_t e = 0; e < c.head_dim; ++e) {
          dq.at(t, at + e) += dscore * k.at(s, kv + e);
          dk.at(s, kv + e) += dscore * q.at(t, at + e);
        }
      }
    }
  }
}

}  // namespace rubato::reference
