// nesterov: the outer rule of synchronous DiLoCo; applied to single deltas it is the asynchronous
// baseline that loses quality.
//   m = beta*m + g
//   theta = theta - lr*(beta*m + g)
// Source: arXiv:2401.09135 eq. 4 (torch's SGD with nesterov=True, dampening=0); lr 0.7 and beta 0.9
// from arXiv:2311.08105.
// State: 1 P (m).
// Invariant: four steps with one g have the closed form of eq. 5 (PaperRules.Equation5..).
#include "rubato/base/multiversion.h"
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

RUBATO_MULTIVERSION void nesterov_step(float* __restrict theta, float* __restrict m,
                                       const float* __restrict g, int64_t n, float lr, float beta) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = beta * m[i] + g[i];
    theta[i] -= lr * (beta * m[i] + g[i]);
  }
}

class Nesterov final : public OuterStage {
 public:
  Nesterov(double lr, double beta, int64_t num_params)
      : lr_(lr), beta_(beta), m_(static_cast<size_t>(num_params)) {}
  void walk_state(StateWalk& walk) override { walk.plane("m", m_); }
  MomentumView momentum() const override { return {m_, beta_}; }
  StagePlan plan(const UpdateFacts&) override { return {.a = lr_, .b = beta_}; }
  void apply(Block& block, const StagePlan& plan) override {
    nesterov_step(block.theta, m_.data() + block.offset, block.g, block.size,
                  static_cast<float>(plan.a), static_cast<float>(plan.b));
  }

 private:
  double lr_, beta_;
  std::vector<float> m_;  // [P]
};

StatusOr<std::unique_ptr<OuterStage>> make_nesterov(const Options& options,
                                                    const OuterContext& context) {
  return std::make_unique<Nesterov>(options.real("lr"), options.real("beta"), context.num_params);
}

}  // namespace

extern const OuterEntry kNesterovEntry = {{{"nesterov",
                                            "Nesterov momentum at every update",
                                            "m = beta*m + g; theta = theta - lr*(beta*m + g)",
                                            "arXiv:2401.09135 eq. 4; arXiv:2311.08105",
                                            {lr_option(0.7), beta_option(0.9)}},
                                           make_nesterov},
                                          StageKind::kTerminal};

}  // namespace rubato
