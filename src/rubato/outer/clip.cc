// clip: bounds how far one update can move anything.
//   g = g * min(1, max_norm / |delta|)
// |delta| is the L2 norm of the whole pseudo-gradient as it arrived, whatever links stand in front.
// Source: global-norm clipping, arXiv:1211.5063 section 3.2, applied to pseudo-gradients.
// State: none; costs one more reading pass over the delta.
// Invariant: a delta within max_norm is unchanged, a longer one has norm max_norm and its own
// direction (Clip.* in links_test).
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

class Clip final : public OuterStage {
 public:
  explicit Clip(double max_norm) : max_norm_(max_norm) {}
  StageNeeds needs() const override { return {.delta_norm = true, .single_delta = true}; }
  StagePlan plan(const UpdateFacts& facts) override {
    return {.a = facts.delta_norm > max_norm_ ? max_norm_ / facts.delta_norm : 1.0};
  }
  void apply(Block& block, const StagePlan& plan) override {
    scale_block(block, static_cast<float>(plan.a));
  }

 private:
  double max_norm_;
};

StatusOr<std::unique_ptr<OuterStage>> make_clip(const Options& options, const OuterContext&) {
  return std::make_unique<Clip>(options.real("max_norm"));
}

}  // namespace

extern const OuterEntry kClipEntry = {
    {{"clip",
      "scales a pseudo-gradient down to a largest norm",
      "g = g * min(1, max_norm/|delta|)",
      "arXiv:1211.5063 section 3.2",
      {real_option("max_norm", 1, 1e-6, 1e6, "1", "largest L2 norm of the whole delta")}},
     make_clip},
    StageKind::kLink};

}  // namespace rubato
