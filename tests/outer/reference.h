// Outer rules in double precision, written as the papers print them: the measure for the float
// kernels.
#pragma once

#include <vector>

namespace rubato::testing {

using Doubles = std::vector<double>;

inline Doubles to_doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

/// arXiv:2401.09135 eq. 4.
struct NesterovReference {
  double lr, beta;
  Doubles theta, m;
  NesterovReference(double lr_in, double beta_in, Doubles start)
      : lr(lr_in), beta(beta_in), theta(std::move(start)), m(theta.size(), 0.0) {}
  void step(const Doubles& g) {
    for (size_t i = 0; i < theta.size(); ++i) {
      m[i] = beta * m[i] + g[i];
      theta[i] -= lr * (beta * m[i] + g[i]);
    }
  }
};

/// arXiv:2401.09135 Alg. 3.
struct DelayedNesterovReference {
  double lr, beta, c;
  int period;
  Doubles theta, m, sum;
  int arrivals = 0;
  DelayedNesterovReference(double lr_in, double beta_in, double c_in, int period_in, Doubles start)
      : lr(lr_in),
        beta(beta_in),
        c(c_in),
        period(period_in),
        theta(std::move(start)),
        m(theta.size(), 0.0),
        sum(theta.size(), 0.0) {}
  void step(const Doubles& g) {
    const double n = period;
    const bool milestone = ++arrivals % period == 0;
    for (size_t i = 0; i < theta.size(); ++i) {
      sum[i] += g[i];
      if (milestone) {
        m[i] = beta * m[i] + sum[i] / n;
        theta[i] -= lr * ((1 - c * n + c) * beta * m[i] + g[i] / n);
        sum[i] = 0;
      } else {
        theta[i] -= lr * (c * beta * m[i] + g[i] / n);
      }
    }
  }
};

inline Doubles mean_of(const std::vector<Doubles>& group) {
  Doubles mean(group.at(0).size(), 0.0);
  for (const Doubles& member : group) {
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += member[i];
  }
  for (double& value : mean) value /= static_cast<double>(group.size());
  return mean;
}

}  // namespace rubato::testing
