// polynomial_discount: the staler an update, the less it counts.
//   g = (1 + staleness)^-power * g
// Source: arXiv:1903.03934 (FedAsync), used by arXiv:2401.09135 with power 0.5.
// State: none.
// Invariant: power 0 and staleness 0 change no bit (PolynomialDiscount.* in links_test).
#include <cmath>

#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

class PolynomialDiscount final : public OuterStage {
 public:
  explicit PolynomialDiscount(double power) : power_(power) {}
  StageNeeds needs() const override { return {.single_delta = true}; }
  StagePlan plan(const UpdateFacts& facts) override {
    return {.a = std::pow(1 + static_cast<double>(facts.staleness), -power_)};
  }
  void apply(Block& block, const StagePlan& plan) override {
    scale_block(block, static_cast<float>(plan.a));
  }

 private:
  double power_;
};

StatusOr<std::unique_ptr<OuterStage>> make_polynomial_discount(const Options& options,
                                                               const OuterContext&) {
  return std::make_unique<PolynomialDiscount>(options.real("power"));
}

}  // namespace

extern const OuterEntry kPolynomialDiscountEntry = {
    {{"polynomial_discount",
      "discounts an update by a power of its staleness",
      "g = (1 + staleness)^-power * g",
      "arXiv:1903.03934; arXiv:2401.09135, asynchronous baselines",
      {real_option("power", 0.5, 0, 8, "1", "0 counts every update in full")}},
     make_polynomial_discount},
    StageKind::kLink};

}  // namespace rubato
