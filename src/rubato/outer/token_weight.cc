// token_weight: an update counts by the tokens it was made of.
//   g = tokens / (mean tokens of all updates so far, this one included) * g
// With dynamic local updates a slow worker's delta comes from fewer steps; this gives it so much
// less weight. The mean weight of a run is near 1, so the outer step keeps its scale. A group that
// a gate averages is weighted by tokens there (`weight = "tokens"`). Source: sample-count weights
// of FedAvg, arXiv:1602.05629 Alg. 1; arXiv:2401.09135 does without. State: two counters (tokens,
// updates). Invariant: equal tokens change no bit (TokenWeight.* in successors_test).
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

class TokenWeight final : public OuterStage {
 public:
  StageNeeds needs() const override { return {.single_delta = true}; }
  void walk_state(StateWalk& walk) override {
    walk.counter("tokens", tokens_);
    walk.counter("updates", updates_);
  }
  StagePlan plan(const UpdateFacts& facts) override {
    tokens_ += facts.tokens;
    ++updates_;
    // Nothing counted so far tells nothing about weights.
    if (tokens_ == 0) return {.a = 1};
    const double mean = static_cast<double>(tokens_) / static_cast<double>(updates_);
    return {.a = static_cast<double>(facts.tokens) / mean};
  }
  void apply(Block& block, const StagePlan& plan) override {
    scale_block(block, static_cast<float>(plan.a));
  }

 private:
  int64_t tokens_ = 0;   // of all updates so far
  int64_t updates_ = 0;  // so far
};

StatusOr<std::unique_ptr<OuterStage>> make_token_weight(const Options&, const OuterContext&) {
  return std::make_unique<TokenWeight>();
}

}  // namespace

extern const OuterEntry kTokenWeightEntry = {
    {{"token_weight",
      "weights an update by its tokens, relative to the mean of all so far",
      "g = tokens/mean(tokens) * g",
      "arXiv:1602.05629 Alg. 1",
      {}},
     make_token_weight},
    StageKind::kLink};

}  // namespace rubato
