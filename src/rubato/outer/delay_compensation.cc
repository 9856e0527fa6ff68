// delay_compensation: a first-order guess of what the pseudo-gradient would be at today's theta;
// the Hessian is replaced by lambda * g*g, elementwise.
//   g = g + lambda * g*g*(theta - base),   base = theta the task was dispatched with
// Source: arXiv:1609.08326 eq. 10; a baseline of arXiv:2401.09135, which does not give lambda.
// State: none; the driver keeps the bases of outstanding tasks (P floats per version).
// Invariant: lambda 0 and base = theta change no bit (DelayCompensation.* in links_test).
#include "rubato/base/multiversion.h"
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

RUBATO_MULTIVERSION void compensate(float* out, const float* g, const float* theta,
                                    const float* base, int64_t n, float lambda) {
  RUBATO_INDEPENDENT_LOOP
  for (int64_t i = 0; i < n; ++i) out[i] = g[i] + lambda * (g[i] * g[i]) * (theta[i] - base[i]);
}

class DelayCompensation final : public OuterStage {
 public:
  explicit DelayCompensation(double lambda) : lambda_(lambda) {}
  StageNeeds needs() const override { return {.task_base = true, .single_delta = true}; }
  StagePlan plan(const UpdateFacts&) override { return {.a = lambda_}; }
  void apply(Block& block, const StagePlan& plan) override {
    compensate(block.scratch, block.g, block.theta, block.base, block.size,
               static_cast<float>(plan.a));
    block.g = block.scratch;
  }

 private:
  double lambda_;
};

StatusOr<std::unique_ptr<OuterStage>> make_delay_compensation(const Options& options,
                                                              const OuterContext&) {
  return std::make_unique<DelayCompensation>(options.real("lambda"));
}

}  // namespace

extern const OuterEntry kDelayCompensationEntry = {
    {{"delay_compensation",
      "corrects a stale update for how far theta has moved since its dispatch",
      "g = g + lambda*g*g*(theta - base)",
      "arXiv:1609.08326 eq. 10; arXiv:2401.09135, asynchronous baselines",
      {real_option("lambda", 0.1, 0, 1000, "1/parameter^2",
                   "strength; 0 switches the correction off, grid .01, .1, 1")}},
     make_delay_compensation},
    StageKind::kLink};

}  // namespace rubato
