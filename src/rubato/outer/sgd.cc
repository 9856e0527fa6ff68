// sgd: the plain outer step. With lr 1 and the mean of a group it is federated averaging.
//   theta = theta - lr*g
// Source: arXiv:1602.05629 (lr 1); a baseline of arXiv:2401.09135.
// State: none.
// Invariant: lr 1 and delta = theta - x lands on x up to rounding (Sgd.* in terminals_test).
#include "rubato/base/multiversion.h"
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

RUBATO_MULTIVERSION void sgd_step(float* __restrict theta, const float* __restrict g, int64_t n,
                                  float lr) {
  for (int64_t i = 0; i < n; ++i) theta[i] -= lr * g[i];
}

class Sgd final : public OuterStage {
 public:
  explicit Sgd(double lr) : lr_(lr) {}
  StagePlan plan(const UpdateFacts&) override { return {.a = lr_}; }
  void apply(Block& block, const StagePlan& plan) override {
    sgd_step(block.theta, block.g, block.size, static_cast<float>(plan.a));
  }

 private:
  double lr_;
};

StatusOr<std::unique_ptr<OuterStage>> make_sgd(const Options& options, const OuterContext&) {
  return std::make_unique<Sgd>(options.real("lr"));
}

}  // namespace

extern const OuterEntry kSgdEntry = {{{"sgd",
                                       "plain outer step",
                                       "theta = theta - lr*g",
                                       "arXiv:1602.05629; arXiv:2401.09135, baselines",
                                       {lr_option(1)}},
                                      make_sgd},
                                     StageKind::kTerminal};

}  // namespace rubato
