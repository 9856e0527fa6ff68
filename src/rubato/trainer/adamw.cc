// AdamW: Adam with weight decay that bypasses the moments; what the paper's workers run.
//   m = beta1*m + (1 - beta1)*g          v = beta2*v + (1 - beta2)*g*g
//   theta = theta*(1 - lr*wd) - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
// t counts the steps of this state from 1; wd is 0 for norms and biases.
// Source: Loshchilov and Hutter, arXiv:1711.05101, Alg. 2; defaults from ALGORITHMS.md 4.2.
// State: 2 P (m, v). tests/trainer/adamw_test.cc holds it against the formula in double.
#include "rubato/trainer/adamw.h"

#include <cmath>

#include "rubato/base/multiversion.h"
#include "rubato/base/status.h"

namespace rubato {
namespace {

std::vector<OptionSpec> option_table() {
  return {
      real_option("beta1", 0.9, 0, 0.999999, "1", "decay of the mean of gradients"),
      real_option("beta2", 0.95, 0, 0.999999, "1", "decay of the mean of squared gradients"),
      real_option("eps", 1e-8, 1e-30, 1, "1", "added to the root of the second moment"),
      real_option("weight_decay", 0.1, 0, 10, "1",
                  "decoupled decay of matrices and embeddings, times the rate"),
      real_option("clip_norm", 1.0, 0, 1e9, "1",
                  "norm the whole gradient is clipped to; 0: never clipped"),
  };
}

// The step's scalars; rounded to float once, so that every range uses the same ones.
struct Factors {
  float scale, beta1, rest1, beta2, rest2;
  float keep;       // 1 - lr * weight decay
  float rate;       // lr / (1 - beta1^t)
  float root_rate;  // 1 / sqrt(1 - beta2^t)
  float eps;
};

RUBATO_MULTIVERSION
void adamw_range(int64_t size, const Factors f, const float* __restrict gradient,
                 float* __restrict m, float* __restrict v, float* __restrict theta) {
  for (int64_t i = 0; i < size; ++i) {
    const float g = f.scale * gradient[i];
    m[i] = f.beta1 * m[i] + f.rest1 * g;
    v[i] = f.beta2 * v[i] + f.rest2 * (g * g);
    theta[i] = f.keep * theta[i] - f.rate * m[i] / (std::sqrt(v[i]) * f.root_rate + f.eps);
  }
}

}  // namespace

void adamw_update(const AdamRates& rates, double weight_decay, int64_t offset,
                  std::span<const float> gradient, float scale, double lr, InnerState& state,
                  std::span<float> params) {
  RUBATO_CHECK(state.planes.size() == 2 && state.steps >= 1);
  const double t = static_cast<double>(state.steps);
  const Factors factors{
      .scale = scale,
      .beta1 = static_cast<float>(rates.beta1),
      .rest1 = static_cast<float>(1 - rates.beta1),
      .beta2 = static_cast<float>(rates.beta2),
      .rest2 = static_cast<float>(1 - rates.beta2),
      .keep = static_cast<float>(1 - lr * weight_decay),
      .rate = static_cast<float>(lr / (1 - std::pow(rates.beta1, t))),
      .root_rate = static_cast<float>(1 / std::sqrt(1 - std::pow(rates.beta2, t))),
      .eps = static_cast<float>(rates.eps),
  };
  adamw_range(static_cast<int64_t>(gradient.size()), factors, gradient.data(),
              state.planes[0].data() + offset, state.planes[1].data() + offset,
              params.data() + offset);
}

namespace {

class AdamW final : public InnerOptimizer {
 public:
  explicit AdamW(const Options& options)
      : rates_{options.real("beta1"), options.real("beta2"), options.real("eps")},
        weight_decay_(options.real("weight_decay")),
        clip_norm_(options.real("clip_norm")) {}

  int64_t num_planes() const override { return 2; }
  double clip_norm() const override { return clip_norm_; }

  void update_range(TensorRole role, int64_t offset, std::span<const float> gradient, float scale,
                    double lr, InnerState& state, std::span<float> params) const override {
    adamw_update(rates_, is_decayed(role) ? weight_decay_ : 0.0, offset, gradient, scale, lr, state,
                 params);
  }

 private:
  AdamRates rates_;
  double weight_decay_, clip_norm_;
};

}  // namespace

const InnerEntry& adamw_entry() {
  static const InnerEntry entry{
      {"adamw", "Adam with decoupled weight decay",
       "m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*g^2; "
       "theta = theta*(1 - lr*wd) - lr * m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps)",
       "arXiv:1711.05101, Alg. 2", option_table()},
      [](const Options& options) -> StatusOr<std::unique_ptr<InnerOptimizer>> {
        return std::make_unique<AdamW>(options);
      }};
  return entry;
}

}  // namespace rubato
