// adam: outer Adam at every update, with the usual bias correction of both moments.
//   m = beta1*m + (1-beta1)*g          v = beta2*v + (1-beta2)*g*g          t = t + 1
//   theta = theta - lr * (m / (1-beta1^t)) / (sqrt(v / (1-beta2^t)) + eps)
// Source: arXiv:1412.6980 Alg. 1; as an outer rule arXiv:2311.08105, which found that it wants an
// eps as large as 0.1.
// State: 2 P (m, v) and the count t.
// Invariant: the first step is lr*g/(|g| + eps) (Adam.* in terminals_test).
#include <cmath>
#include <limits>

#include "rubato/base/multiversion.h"
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

struct Factors {
  float beta1, rest1, beta2, rest2;  // rest = 1 - beta
  float step;                        // lr / (1-beta1^t)
  float unbias2;                     // 1 / (1-beta2^t)
  float eps;
};

RUBATO_MULTIVERSION void adam_step(float* __restrict theta, float* __restrict m,
                                   float* __restrict v, const float* __restrict g, int64_t n,
                                   const Factors f) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = f.beta1 * m[i] + f.rest1 * g[i];
    v[i] = f.beta2 * v[i] + f.rest2 * (g[i] * g[i]);
    theta[i] -= f.step * m[i] / (std::sqrt(v[i] * f.unbias2) + f.eps);
  }
}

class Adam final : public OuterStage {
 public:
  Adam(double lr, double beta1, double beta2, double eps, int64_t num_params)
      : lr_(lr),
        beta1_(beta1),
        beta2_(beta2),
        eps_(eps),
        m_(static_cast<size_t>(num_params)),
        v_(static_cast<size_t>(num_params)) {}
  void walk_state(StateWalk& walk) override {
    walk.plane("m", m_);
    walk.plane("v", v_);
    walk.counter("t", t_);
  }
  MomentumView momentum() const override { return {m_, std::numeric_limits<double>::quiet_NaN()}; }
  /// a = lr/(1-beta1^t), b = 1/(1-beta2^t).
  StagePlan plan(const UpdateFacts&) override {
    const auto t = static_cast<double>(++t_);
    return {.a = lr_ / (1 - std::pow(beta1_, t)), .b = 1 / (1 - std::pow(beta2_, t))};
  }
  void apply(Block& block, const StagePlan& plan) override {
    const Factors factors{static_cast<float>(beta1_), static_cast<float>(1 - beta1_),
                          static_cast<float>(beta2_), static_cast<float>(1 - beta2_),
                          static_cast<float>(plan.a), static_cast<float>(plan.b),
                          static_cast<float>(eps_)};
    adam_step(block.theta, m_.data() + block.offset, v_.data() + block.offset, block.g, block.size,
              factors);
  }

 private:
  double lr_, beta1_, beta2_, eps_;
  int64_t t_ = 0;             // updates so far
  std::vector<float> m_, v_;  // [P] each
};

StatusOr<std::unique_ptr<OuterStage>> make_adam(const Options& options,
                                                const OuterContext& context) {
  return std::make_unique<Adam>(options.real("lr"), options.real("beta1"), options.real("beta2"),
                                options.real("eps"), context.num_params);
}

}  // namespace

extern const OuterEntry kAdamEntry = {
    {{"adam",
      "Adam at every update, bias-corrected",
      "m = beta1*m + (1-beta1)*g; v = beta2*v + (1-beta2)*g*g; "
      "theta = theta - lr*(m/(1-beta1^t))/(sqrt(v/(1-beta2^t)) + eps)",
      "arXiv:1412.6980 Alg. 1; arXiv:2311.08105",
      {lr_option(0.3), real_option("beta1", 0.9, 0, 0.9999, "1", "decay of the first moment"),
       real_option("beta2", 0.999, 0, 0.999999, "1", "decay of the second moment"),
       real_option("eps", 0.1, 1e-12, 10, "1", "added to the root of the second moment")}},
     make_adam},
    StageKind::kTerminal};

}  // namespace rubato
