// The promises of every registered link and terminal rule, and of random chains of them; and that a
// rule nobody but this file knows keeps them through the same door: adding a rule takes one entry.
#include "tests/outer/conformance.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato::testing {
namespace {

// A rule of one's own, as CONTRIBUTING.md tells newcomers to write it: theta moves by the average
// of this delta and the one before.
class TwoPointAverage final : public OuterStage {
 public:
  TwoPointAverage(double lr, int64_t num_params)
      : lr_(lr), last_(static_cast<size_t>(num_params)) {}
  void walk_state(StateWalk& walk) override {
    walk.plane("last", last_);
    walk.counter("updates", updates_);
  }
  StagePlan plan(const UpdateFacts&) override { return {.a = updates_++ == 0 ? lr_ : lr_ / 2}; }
  void apply(Block& block, const StagePlan& plan) override {
    const auto lr = static_cast<float>(plan.a);
    float* last = last_.data() + block.offset;
    for (int64_t i = 0; i < block.size; ++i) {
      block.theta[i] -= lr * (last[i] + block.g[i]);
      last[i] = block.g[i];
    }
  }

 private:
  double lr_;
  int64_t updates_ = 0;
  std::vector<float> last_;  // [P]
};

StatusOr<std::unique_ptr<OuterStage>> make_two_point(const Options& options,
                                                     const OuterContext& context) {
  return std::make_unique<TwoPointAverage>(options.real("lr"), context.num_params);
}

const OuterEntry kTwoPointEntry = {{{"two_point_average",
                                     "moves by the average of the last two deltas",
                                     "theta = theta - lr*(g + last)/2; last = g",
                                     "this test",
                                     {real_option("lr", 0.5, 0, 2, "1", "outer step")}},
                                    make_two_point},
                                   StageKind::kTerminal};

std::vector<const OuterEntry*> entries_with_two_point() {
  const EntryList built_in = outer_entries();
  std::vector<const OuterEntry*> entries(built_in.begin(), built_in.end());
  entries.push_back(&kTwoPointEntry);
  return entries;
}

TEST(OuterConformance, EveryRuleAloneAndBehindEveryLink) {
  std::set<std::string> checked;
  for (const ChainCase& chain_case : single_stage_cases(outer_entries())) {
    check_chain(chain_case, outer_entries());
    checked.insert(chain_case.rule);
    checked.insert(chain_case.links.begin(), chain_case.links.end());
  }
  EXPECT_EQ(checked.size(), outer_entries().size());
}

TEST(OuterConformance, RandomChains) {
  for (const ChainCase& chain_case : random_cases(outer_entries(), 40)) {
    check_chain(chain_case, outer_entries());
  }
}

TEST(OuterConformance, OptionsAreGuarded) {
  for (const OuterEntry* entry : outer_entries()) {
    check_options_are_guarded(*entry, outer_entries());
  }
}

TEST(OuterConformance, NamesAreUnique) {
  std::map<std::string, int> count;
  for (const OuterEntry* entry : outer_entries()) ++count[entry->name];
  for (const auto& [name, times] : count) EXPECT_EQ(times, 1) << name;
}

TEST(AddedRule, KeepsEveryPromiseOfTheRegistry) {
  const auto entries = entries_with_two_point();
  check_options_are_guarded(kTwoPointEntry, entries);
  check_chain({{}, "two_point_average", {}}, entries);
  for (const OuterEntry* link : outer_entries()) {
    const ChainCase behind{{link->name}, "two_point_average", {}};
    if (link->kind == StageKind::kLink && can_be_made(behind, entries))
      check_chain(behind, entries);
  }
}

TEST(AddedRule, IsFoundDescribedRangeCheckedAndSaved) {
  const auto entries = entries_with_two_point();
  const auto found = find_entry<OuterEntry>("describe", "rule", entries, "two_point_average");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ((*found)->summary, "moves by the average of the last two deltas");
  EXPECT_EQ((*found)->options.at(0).unit, "1");

  const Layout layout = flat_layout(3);
  const OuterContext context{.num_workers = 2, .num_params = 3};
  const ChainSpec too_far{{}, "two_point_average", {{"two_point_average", {{"lr", 3.0}}}}};
  EXPECT_EQ(OuterChain::make(too_far, layout, context, entries).status().message(),
            "[two_point_average] lr: got 3.0, want a number in [0, 2]");
  EXPECT_EQ(
      OuterChain::make({{}, "two_point_averag", {}}, layout, context, entries).status().message(),
      "[outer chain] unknown rule two_point_averag (did you mean two_point_average?)");

  auto chain = make_chain(layout, 2, {"weight"}, "two_point_average", {}, entries);
  const StateImage image = state_of(*chain);
  EXPECT_TRUE(image.contains("1.two_point_average.last"));
  EXPECT_TRUE(image.contains("1.two_point_average.updates"));
}

TEST(AddedRule, ComputesItsFormula) {
  const auto entries = entries_with_two_point();
  auto chain = make_chain(flat_layout(1), 1, {}, "two_point_average", {}, entries);
  Floats theta = {10};
  apply(*chain, {2}, theta);
  apply(*chain, {4}, theta);
  EXPECT_EQ(theta[0], 10 - 0.5f * 2 - 0.25f * (2 + 4));
}

}  // namespace
}  // namespace rubato::testing
