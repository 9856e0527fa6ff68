// weight: every pseudo-gradient counts by a constant.
//   g = w*g,   w in {1/k, 1/sqrt(k), value},   k the recipe's number of workers
// Source: arXiv:2401.09135, asynchronous baselines (weights 1/k, 1/sqrt(k), .125 .. 1).
// State: none.
// Invariant: k updates of weight 1/k move sgd as far as their mean does (Weight.* in links_test).
#include <cmath>

#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

class Weight final : public OuterStage {
 public:
  explicit Weight(double weight) : weight_(weight) {}
  StagePlan plan(const UpdateFacts&) override { return {.a = weight_}; }
  void apply(Block& block, const StagePlan& plan) override {
    scale_block(block, static_cast<float>(plan.a));
  }

 private:
  double weight_;
};

StatusOr<std::unique_ptr<OuterStage>> make_weight(const Options& options,
                                                  const OuterContext& context) {
  const std::string& mode = options.text("mode");
  const auto k = static_cast<double>(context.num_workers);
  // A value that another mode ignored, or a mode without its value, would be a silent mistake.
  if (options.has("value") != (mode == "constant")) {
    return absl::InvalidArgumentError(
        cat("[weight] value: got ", options.has("value") ? "one" : "none", " with mode = \"", mode,
            "\", want it with mode = \"constant\" and only there"));
  }
  if (mode == "constant") return std::make_unique<Weight>(options.real("value"));
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
       optional(real_option("value", 1, 0, 1, "1", "w when mode = \"constant\""))}},
     make_weight},
    StageKind::kLink};

}  // namespace rubato
