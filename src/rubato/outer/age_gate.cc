// age_gate: the older an update, the less it counts, and beyond an age it does not count at all.
//   g = gate(s) * exp(-alpha*s) * g,   gate(s) = (1 + cos(pi * min(s/s_cut, 1))) / 2
// s = staleness; s_cut without an option is 4 k: workers of one speed have ages below k, of which
// the oldest keeps 0.85 of its weight or more. In front of adam it is age-aware Adam (CGAD): an
// update of weight 0 still decays both moments. Source: arXiv:2605.09126. The gate's form is our
// reading, alpha and s_cut are ours. State: none. Invariant: alpha 0 and an s_cut out of reach
// change no bit (AgeGate.* in successors_test).
#include <cmath>
#include <numbers>

#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

class AgeGate final : public OuterStage {
 public:
  AgeGate(double alpha, double s_cut) : alpha_(alpha), s_cut_(s_cut) {}
  StageNeeds needs() const override { return {.single_delta = true}; }
  StagePlan plan(const UpdateFacts& facts) override {
    const auto age = static_cast<double>(facts.staleness);
    const double gate = age < s_cut_ ? (1 + std::cos(std::numbers::pi * age / s_cut_)) / 2 : 0;
    return {.a = gate * std::exp(-alpha_ * age)};
  }
  void apply(Block& block, const StagePlan& plan) override {
    scale_block(block, static_cast<float>(plan.a));
  }

 private:
  double alpha_, s_cut_;
};

StatusOr<std::unique_ptr<OuterStage>> make_age_gate(const Options& options,
                                                    const OuterContext& context) {
  const double s_cut =
      options.has("s_cut") ? options.real("s_cut") : 4 * static_cast<double>(context.num_workers);
  return std::make_unique<AgeGate>(options.real("alpha"), s_cut);
}

}  // namespace

extern const OuterEntry kAgeGateEntry = {
    {{"age_gate",
      "discounts an update by its age and shuts out the oldest",
      "g = (1 + cos(pi*min(s/s_cut, 1)))/2 * exp(-alpha*s) * g, s = staleness",
      "arXiv:2605.09126; the cosine is our reading",
      {real_option("alpha", 0.1, 0, 100, "1/version", "decay per version of age; 0 for none"),
       optional(real_option("s_cut", 16, 1, 1e9, "versions",
                            "age from which nothing counts; without it 4 k"))}},
     make_age_gate},
    StageKind::kLink};

}  // namespace rubato
