// threshold: discards updates that are too stale, leaves the others alone.
//   staleness > max_staleness: the update is dropped and no stage of the chain sees it
// The chain decides before it plans anything (OuterStage::max_staleness), so that no counter of
// another stage moves for a dropped update.
// Source: arXiv:2401.09135, asynchronous baselines (10, together with the polynomial discount).
// State: none.
// Invariant: a dropped update leaves the whole chain's state untouched (Threshold.* in links_test).
#include "rubato/outer/outer_rule.h"

namespace rubato {
namespace {

class Threshold final : public OuterStage {
 public:
  explicit Threshold(int64_t max_staleness) : max_staleness_(max_staleness) {}
  int64_t max_staleness() const override { return max_staleness_; }
  StagePlan plan(const UpdateFacts&) override { return {}; }
  void apply(Block&, const StagePlan&) override {}

 private:
  int64_t max_staleness_;
};

StatusOr<std::unique_ptr<OuterStage>> make_threshold(const Options& options, const OuterContext&) {
  return std::make_unique<Threshold>(options.integer("max_staleness"));
}

}  // namespace

extern const OuterEntry kThresholdEntry = {
    {{"threshold",
      "discards updates that are too stale",
      "drop when staleness > max_staleness",
      "arXiv:2401.09135, asynchronous baselines",
      {integer_option("max_staleness", 10, 0, 1'000'000, "versions",
                      "the stalest update that still counts")}},
     make_threshold},
    StageKind::kLink};

}  // namespace rubato
