// mla: momentum look-ahead. Momentum is an average of deltas, and workers may start where it is
// about to carry the model, so that what they bring back fits the model it is applied to.
//   m = gamma*m + (1-gamma)*g
//   theta = theta - lr*(gamma*m + g)
//   dispatch = "look_ahead": workers start from theta - lr*gamma*m; "theta": from theta
// Source: Ajanthan et al. 2025 (momentum look-ahead), g weighted by 1/sqrt(k) in front; whether
// workers start from the look-ahead point differs between sources, so it is an option.
// State: 1 P (m). Looking ahead costs one pass over a copy of theta per published version.
// Invariant: gamma 0 is sgd (Mla.* in successors_test).
#include <limits>

#include "rubato/base/multiversion.h"
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

RUBATO_MULTIVERSION void mla_step(float* __restrict theta, float* __restrict m,
                                  const float* __restrict g, int64_t n, float lr, float gamma,
                                  float rest) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = gamma * m[i] + rest * g[i];
    theta[i] -= lr * (gamma * m[i] + g[i]);
  }
}

RUBATO_MULTIVERSION void move_ahead(float* __restrict theta, const float* __restrict m, int64_t n,
                                    float reach) {
  for (int64_t i = 0; i < n; ++i) theta[i] -= reach * m[i];
}

class Mla final : public OuterStage {
 public:
  Mla(double lr, double gamma, bool looks_ahead, int64_t num_params)
      : lr_(lr), gamma_(gamma), looks_ahead_(looks_ahead), m_(static_cast<size_t>(num_params)) {}
  StageNeeds needs() const override { return {.looks_ahead = looks_ahead_}; }
  void walk_state(StateWalk& walk) override { walk.plane("m", m_); }
  MomentumView momentum() const override { return {m_, std::numeric_limits<double>::quiet_NaN()}; }
  StagePlan plan(const UpdateFacts&) override { return {.a = lr_, .b = gamma_}; }
  void apply(Block& block, const StagePlan& plan) override {
    mla_step(block.theta, m_.data() + block.offset, block.g, block.size, static_cast<float>(plan.a),
             static_cast<float>(plan.b), static_cast<float>(1 - plan.b));
  }
  void dispatch_point(Block& block) const override {
    move_ahead(block.theta, m_.data() + block.offset, block.size, static_cast<float>(lr_ * gamma_));
  }

 private:
  double lr_, gamma_;
  bool looks_ahead_;
  std::vector<float> m_;  // [P]
};

StatusOr<std::unique_ptr<OuterStage>> make_mla(const Options& options,
                                               const OuterContext& context) {
  return std::make_unique<Mla>(options.real("lr"), options.real("gamma"),
                               options.text("dispatch") == "look_ahead", context.num_params);
}

}  // namespace

extern const OuterEntry kMlaEntry = {
    {{"mla",
      "momentum look-ahead: an averaged momentum, and workers that start ahead of the model",
      "m = gamma*m + (1-gamma)*g; theta = theta - lr*(gamma*m + g); "
      "workers start from theta - lr*gamma*m",
      "Ajanthan et al. 2025",
      {lr_option(0.7), real_option("gamma", 0.9, 0, 0.9999, "1", "momentum kept from step to step"),
       choice_option("dispatch", "look_ahead", {"look_ahead", "theta"},
                     "where workers start: ahead of the model along its momentum, or at it")}},
     make_mla},
    StageKind::kTerminal};

}  // namespace rubato
