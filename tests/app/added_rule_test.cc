// The promise of CONTRIBUTING.md at the program's end: an outer rule that stands in the list of
// entries, and nowhere else, is described, parsed and range-checked. What checkpoints and the
// conformance suite do with such a rule is tested in tests/outer (AddedRule).
#include <gtest/gtest.h>

#include "rubato/app/build.h"
#include "rubato/app/catalogue.h"
#include "rubato/app/describe.h"
#include "rubato/app/recipe.h"

namespace rubato {
namespace {

// Never made: the recipe and the words come from the entry alone.
StatusOr<std::unique_ptr<OuterStage>> refuse(const Options&, const OuterContext&) {
  return absl::UnimplementedError("words only");
}

const OuterEntry kLookahead = {{{"lookahead",
                                 "moves further along the last delta",
                                 "theta = theta - lr*(1 + reach)*g",
                                 "this test",
                                 {real_option("lr", 0.5, 0, 2, "1", "outer step"),
                                  real_option("reach", 0.1, 0, 1, "1", "share of one more step")}},
                                refuse},
                               StageKind::kTerminal};

std::vector<CatalogueKind> extended_catalogue() {
  std::vector<const OuterEntry*> entries(outer_entries().begin(), outer_entries().end());
  entries.push_back(&kLookahead);
  return catalogue(entries);
}

StatusOr<Recipe> parse(const std::string& options) {
  return Recipe::parse(RecipeSchema::make(extended_catalogue()),
                       "[outer]\nrule = \"lookahead\"\n[outer.lookahead]\n" + options,
                       "added.toml");
}

TEST(AddedRule, IsDescribedWithItsOptions) {
  const auto text = describe_text({"rule", "lookahead"}, extended_catalogue());
  ASSERT_TRUE(text.ok()) << text.status();
  for (const char* words : {"moves further along the last delta", "lr*(1 + reach)*g", "this test",
                            "share of one more step", "[outer.lookahead]"}) {
    EXPECT_NE(text->find(words), std::string::npos) << words << " is missing in\n" << *text;
  }
  EXPECT_FALSE(describe_text({"rule", "lookahead"}).ok());
}

TEST(AddedRule, IsParsedIntoTheChainOfARun) {
  const auto recipe = parse("reach = 0.25\n");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  const ChainSpec spec = chain_spec(*recipe);
  EXPECT_EQ(spec.rule, "lookahead");
  EXPECT_EQ(spec.options.at("lookahead").at("reach"), OptionValue(0.25));
  EXPECT_EQ(spec.options.at("lookahead").at("lr"), OptionValue(0.5));
}

TEST(AddedRule, IsRangeCheckedWithItsLine) {
  const auto too_far = parse("reach = 1.5\n");
  EXPECT_NE(too_far.status().message().find("added.toml:4"), absl::string_view::npos)
      << too_far.status();
  const auto unknown = parse("reech = 0.5\n");
  EXPECT_NE(unknown.status().message().find("outer.lookahead.reach"), absl::string_view::npos)
      << unknown.status();
}

}  // namespace
}  // namespace rubato
