// momentum: heavy-ball momentum at every update.
//   m = beta*m + g
//   theta = theta - lr*m
// Source: Polyak 1964; a baseline of arXiv:2401.09135. Defaults: the paper's toy notebook, whose
// asynchronous runs called nesterov are this rule with lr 0.07 and beta 0.9.
// State: 1 P (m).
// Invariant: beta 0 is sgd bit for bit (Momentum.* in terminals_test).
#include "rubato/base/multiversion.h"
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

RUBATO_MULTIVERSION void momentum_step(float* __restrict theta, float* __restrict m,
                                       const float* __restrict g, int64_t n, float lr, float beta) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = beta * m[i] + g[i];
    theta[i] -= lr * m[i];
  }
}

class Momentum final : public OuterStage {
 public:
  Momentum(double lr, double beta, int64_t num_params)
      : lr_(lr), beta_(beta), m_(static_cast<size_t>(num_params)) {}
  void walk_state(StateWalk& walk) override { walk.plane("m", m_); }
  MomentumView momentum() const override { return {m_, beta_}; }
  StagePlan plan(const UpdateFacts&) override { return {.a = lr_, .b = beta_}; }
  void apply(Block& block, const StagePlan& plan) override {
    momentum_step(block.theta, m_.data() + block.offset, block.g, block.size,
                  static_cast<float>(plan.a), static_cast<float>(plan.b));
  }

 private:
  double lr_, beta_;
  std::vector<float> m_;  // [P]
};

StatusOr<std::unique_ptr<OuterStage>> make_momentum(const Options& options,
                                                    const OuterContext& context) {
  return std::make_unique<Momentum>(options.real("lr"), options.real("beta"), context.num_params);
}

}  // namespace

extern const OuterEntry kMomentumEntry = {{{"momentum",
                                            "heavy-ball momentum at every update",
                                            "m = beta*m + g; theta = theta - lr*m",
                                            "Polyak 1964; arXiv:2401.09135, baselines",
                                            {lr_option(0.07), beta_option(0.9)}},
                                           make_momentum},
                                          StageKind::kTerminal};

}  // namespace rubato
