// weight: every pseudo-gradient counts by a constant.
//   g = w*g,   w in {1/k, 1/sqrt(k), value},   k the recipe's number of workers
// Source: arXiv:2401.09135, asynchronous baselines (weights 1/k, 1/sqrt(k), .125 .. 1).
// State: none.
// Invariant: k updates of weight 1/k move sgd as far as their mean does (Weight.* in links_test).
#include <cmath>

#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

constexpr double kNoValue = 1;

class Weight final : public OuterStage {
 public:
  explicit Weight(double weight) : weight_(weight) {}
  StagePlan plan(const UpdateFacts&) override { return {.a = weight_}; }
  void apply(const Block& block, const StagePlan& plan) override {
    scale_block(block.g, block.size, static_cast<float>(plan.a));
  }

 private:
  double weight_;
};

StatusOr<std::unique_ptr<OuterStage>> make_weight(const Options& options,
                                                  const OuterContext& context) {
  const std::string& mode = options.text("mode");
  const double value = options.real("value");
  const auto k = static_cast<double>(context.num_workers);
  if (mode == "constant") return std::make_unique<Weight>(value);
  if (value != kNoValue) {
    return absl::InvalidArgumentError(cat("[weight] value: got ", value, " with mode = \"", mode,
                                          "\", want it with mode = \"constant\" only"));
  }
  return std::make_unique<Weight>(mode == "inverse_k" ? 1 / k : 1 / std::sqrt(k));
}

}  // namespace

extern const OuterEntry kWeightEntry = {
    {{"weight",
      "multiplies every pseudo-gradient by a constant",
      "g = w*g, w in {1/k, 1/sqrt(k), value}",
      "arXiv:2401.09135, asynchronous baselines",
      {choice_option("mode", "inverse_sqrt_k", {"inverse_k", "inverse_sqrt_k", "constant"},
                     "what w is; k is the recipe's number of workers"),
       real_option("value", kNoValue, 0, 1, "1", "w when mode = \"constant\"")}},
     make_weight},
    StageKind::kLink};

}  // namespace rubato
