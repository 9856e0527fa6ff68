#include "rubato/app/recipe.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato {
namespace {

using ::testing::ElementsAre;

std::shared_ptr<const RecipeSchema> schema() {
  static const std::shared_ptr<const RecipeSchema> kSchema = RecipeSchema::make(catalogue());
  return kSchema;
}

StatusOr<Recipe> parse(std::string_view text, std::vector<std::string> sets = {}) {
  return Recipe::parse(schema(), text, "demo.toml", sets);
}

std::string error_of(std::string_view text, std::vector<std::string> sets = {}) {
  return std::string(parse(text, std::move(sets)).status().message());
}

TEST(Recipe, SilentRecipeHasTheDefaults) {
  const auto recipe = parse("");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->integer("run.seed"), 1);
  EXPECT_EQ(recipe->text("run.method"), "custom");
  EXPECT_EQ(recipe->reals("fleet.seconds_per_step"), (std::vector<double>{0.58, 0.75, 1.51, 3.33}));
  EXPECT_FALSE(recipe->has("pretrain.steps"));
  EXPECT_EQ(recipe->where("run.seed"), "default");
}

TEST(Recipe, LongWordsAreShortenedInMessages) {
  const std::string word(5000, 'x');
  for (const std::string& set : {word, word + "=1", "methods." + word + "=1",
                                 "methods." + word + ".lr.max=1", "lr.max=[" + word}) {
    const std::string message = error_of("", {set});
    EXPECT_NE(message.find("xx.."), std::string::npos) << message;
    EXPECT_LT(message.size(), 700u);
  }
}

TEST(Recipe, DepthHasABound) {
  EXPECT_EQ(error_of("", {"model.layers=1000000"}),
            "[recipe] --set: model.layers: got 1000000, want an integer in [1, 1024] layers");
}

TEST(Recipe, ReadsEveryKindOfValueAndItsPlace) {
  const auto recipe = parse(R"(
[train]
local_steps = 20
inner_state = "reset"
[lr]
max = 1  # an integer where a real is wanted
[outer]
links = ["weight", "threshold"]
[outer.nesterov]
lr = 0.07
)");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->integer("train.local_steps"), 20);
  EXPECT_EQ(recipe->text("train.inner_state"), "reset");
  EXPECT_EQ(recipe->real("lr.max"), 1.0);
  EXPECT_THAT(recipe->texts("outer.links"), ElementsAre("weight", "threshold"));
  EXPECT_EQ(recipe->real("outer.nesterov.lr"), 0.07);
  EXPECT_EQ(recipe->where("train.local_steps"), "demo.toml:3");
  EXPECT_EQ(recipe->error("lr.max", "got 1, want less").message(),
            "[recipe] demo.toml:6: lr.max: got 1, want less");
}

TEST(Recipe, UnknownKeyNamesLineAndNearest) {
  EXPECT_EQ(error_of("[run]\nseed = 3\n[train]\nlcoal_steps = 3\n"),
            "[recipe] demo.toml:4: unknown key train.lcoal_steps (did you mean "
            "train.local_steps?)");
  EXPECT_EQ(error_of("[trian]\nlocal_steps = 3\n"),
            "[recipe] demo.toml:2: unknown key trian.local_steps (did you mean "
            "train.local_steps?)");
  EXPECT_EQ(error_of("[train]\nseed = 3\n"),
            "[recipe] demo.toml:2: unknown key train.seed (did you mean run.seed?)");
  EXPECT_THAT(error_of("[outer.nesterov]\nbta = 0.5\n"),
              ::testing::HasSubstr("demo.toml:2: unknown key outer.nesterov.bta (did you mean "
                                   "outer.nesterov.beta"));
  EXPECT_THAT(error_of("zzzzzzzzzzzzzzzzzzzz = 1\n"),
              ::testing::HasSubstr("(known sections: run, model, toy,"));
}

TEST(Recipe, WrongValueNamesLineAndWhatIsWanted) {
  EXPECT_EQ(error_of("\n[train]\nlocal_steps = 0\n"),
            "[recipe] demo.toml:3: train.local_steps: got 0, want an integer in [1, 1000000] "
            "local steps");
  EXPECT_EQ(error_of("[train]\nlocal_steps = 2.5\n"),
            "[recipe] demo.toml:2: train.local_steps: got 2.5, want an integer in [1, 1000000] "
            "local steps");
  EXPECT_EQ(error_of("[train]\ninner_state = \"lose\"\n"),
            "[recipe] demo.toml:2: train.inner_state: got \"lose\", want one of keep, reset");
  EXPECT_THAT(error_of("[outer]\nlinks = [\"wieght\"]\n"),
              ::testing::StartsWith("[recipe] demo.toml:2: outer.links: got [\"wieght\"], want a "
                                    "list of any of weight,"));
  EXPECT_THAT(error_of("[lr]\nmax = nan\n"), ::testing::HasSubstr("demo.toml:2: lr.max: got nan"));
  EXPECT_THAT(error_of("[fleet]\nseconds_per_step = [1, \"two\"]\n"),
              ::testing::HasSubstr("demo.toml:2: fleet.seconds_per_step: got a list of mixed"));
  EXPECT_THAT(error_of("[run]\nseed = 2024-01-01\n"),
              ::testing::HasSubstr("demo.toml:2: run.seed: got a date or time"));
}

TEST(Recipe, DuplicateAndMalformedAreErrorsWithTheirLine) {
  EXPECT_THAT(error_of("[train]\nlanes = 2\nlanes = 3\n"),
              ::testing::StartsWith("[recipe] demo.toml:3: not TOML: "));
  EXPECT_EQ(error_of("[methods.dn]\n\"lr.max\" = 0.1\nlr.max = 0.2\n"),
            "[recipe] demo.toml:3: methods.dn.lr.max is already set in line 2");
  EXPECT_THAT(error_of("[train\n"), ::testing::StartsWith("[recipe] demo.toml:1: not TOML: "));
}

TEST(Recipe, OverlaysAreCheckedLikeKeys) {
  const auto recipe = parse("[methods.async-nesterov]\n\"outer.nesterov.lr\" = 0.3\n");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(std::get<double>(recipe->overlay("async-nesterov").at("outer.nesterov.lr")), 0.3);
  EXPECT_TRUE(recipe->overlay("dn").empty());
  EXPECT_EQ(error_of("[methods.async-nestrov]\n\"outer.nesterov.lr\" = 0.3\n"),
            "[recipe] demo.toml:2: unknown method async-nestrov (did you mean async-nesterov?)");
  EXPECT_THAT(error_of("[methods.dn]\n\"outer.nesterov.lr\" = -1\n"),
              ::testing::StartsWith("[recipe] demo.toml:2: outer.nesterov.lr: got -1, want"));
  EXPECT_THAT(error_of("methods.dn = 3\n"), ::testing::HasSubstr("unknown key methods.dn;"));
}

TEST(Recipe, SetOverridesTheFile) {
  const auto recipe = parse(
      "[train]\nlocal_steps = 20\n",
      {"train.local_steps=30", "lr.max=4e-4", "model.preset=20m", "data.directory=2024",
       "outer.links=[\"weight\"]", "fleet.seconds_per_step=[1, 2]", "train.inner_state=\"reset\""});
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->integer("train.local_steps"), 30);
  EXPECT_EQ(recipe->real("lr.max"), 4e-4);
  EXPECT_EQ(recipe->text("model.preset"), "20m");
  EXPECT_EQ(recipe->text("data.directory"), "2024");
  EXPECT_EQ(recipe->text("train.inner_state"), "reset");
  EXPECT_EQ(recipe->reals("fleet.seconds_per_step").size(), 2u);
  EXPECT_EQ(recipe->where("lr.max"), "--set");
}

TEST(Recipe, SetIsReportedAsSet) {
  EXPECT_EQ(error_of("", {"train.lcoal_steps=3"}),
            "[recipe] --set: unknown key train.lcoal_steps (did you mean train.local_steps?)");
  EXPECT_EQ(error_of("", {"train.local_steps"}),
            "[recipe] --set: got train.local_steps, want key=value");
  EXPECT_EQ(error_of("", {"train.local_steps=many"}),
            "[recipe] --set: train.local_steps: got \"many\", want an integer in [1, 1000000] "
            "local steps");
  EXPECT_THAT(error_of("", {"lr.max=[0.1"}),
              ::testing::HasSubstr("--set: got [0.1, want a TOML value"));
  EXPECT_THAT(error_of("", {"lr.max=1\nrun.seed=2"}), ::testing::HasSubstr("want a TOML value"));
}

TEST(Recipe, ErrorsAreOneLineWhateverTheyQuote) {
  EXPECT_THAT(error_of("\"a\\nb\" = 1\n"),
              ::testing::StartsWith("[recipe] demo.toml:1: unknown key a?b"));
  EXPECT_EQ(error_of("", {"a\nb"}), "[recipe] --set: got a?b, want key=value");
  EXPECT_THAT(error_of("", {"lr.max=\x1b["}), ::testing::HasSubstr("--set: got ?[, want a TOML"));
}

TEST(Recipe, SetIsUtf8AsTheRecipeThatIsWritten) {
  EXPECT_EQ(error_of("", {"data.directory=abc\xff"}),
            "[recipe] --set: got data.directory=abc.. with bytes that are not UTF-8, want UTF-8; a "
            "recipe is UTF-8");
}

TEST(Recipe, AListTakesIntegersThatNoDoubleEquals) {
  const auto recipe = parse("[fleet]\nleave_s = [9007199254740993]\n");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->reals("fleet.leave_s"), (std::vector<double>{9007199254740992.0}));
}

TEST(Recipe, MissingFileIsNamed) {
  const auto recipe = Recipe::load(schema(), "no/such.toml");
  EXPECT_EQ(recipe.status().message(),
            "[recipe] no/such.toml: got nothing to read, want a TOML file; see recipes/");
  EXPECT_FALSE(Recipe::load(schema(), "/").ok());
}

TEST(Recipe, DigestAndDifferenceFollowTheValues) {
  const Recipe a = *parse("[lr]\nmax = 0.001\n"), b = *parse("[lr]\nmax = 0.002\n");
  const Recipe same = *parse("# words\n[lr]\nmin = 0.0001\nmax = 1e-3\n");
  EXPECT_EQ(a.digest(), same.digest());
  EXPECT_NE(a.digest(), b.digest());
  EXPECT_TRUE(difference(a, same).empty());
  EXPECT_THAT(difference(a, b), ElementsAre("lr.max 0.001 -> 0.002"));
  EXPECT_THAT(difference(a, *a.with("pretrain.steps", int64_t{9}, "test")),
              ElementsAre("pretrain.steps absent -> 9"));
}

TEST(Recipe, ProductsArePartOfTheDigestAndFp32UnlessAsked) {
  const Recipe plain = *parse("");
  EXPECT_EQ(plain.text("train.products"), "fp32");
  EXPECT_NE(plain.digest(), parse("[train]\nproducts = \"bf16\"\n")->digest());
  EXPECT_THAT(std::string(parse("[train]\nproducts = \"fp16\"\n").status().message()),
              ::testing::HasSubstr("train.products"));
}

TEST(Recipe, NarrowedKeepsWhatIsInForce) {
  const Recipe recipe = *parse(
      "[outer]\nrule = \"sgd\"\n[outer.sgd]\nlr = 0.5\n[outer.nesterov]\nlr = 0.1\n[methods.dn]\n"
      "\"lr.max\" = 0.2\n");
  EXPECT_EQ(recipe.resolved().count("outer.nesterov.lr"), 1u);
  EXPECT_EQ(recipe.resolved().count("methods.dn.lr.max"), 1u);
  const Recipe::Values narrow = recipe.narrowed().resolved();
  EXPECT_EQ(narrow.count("outer.nesterov.lr"), 0u);
  EXPECT_EQ(narrow.count("methods.dn.lr.max"), 0u);
  EXPECT_EQ(narrow.count("outer.sgd.lr"), 1u);
}

TEST(Recipe, WhatElseIsRunIsNoPartOfOneRun) {
  const auto run_of = [](const std::string& text) { return parse(text)->narrowed(); };
  const Recipe plain = run_of("[tune]\ngrid = [0.1]\n");
  EXPECT_EQ(plain.digest(), run_of("[tune]\ngrid = [0.1, 0.2]\n").digest());
  EXPECT_EQ(plain.digest(), run_of("[compare]\nmethods = [\"dn\"]\n").digest());
  EXPECT_NE(plain.digest(), run_of("[run]\nseed = 9\n").digest());
  EXPECT_EQ(parse(plain.to_toml())->narrowed(), plain);
}

// A value that the spec accepts.
OptionValue any_value(const OptionSpec& spec) {
  const auto real = [&] {
    const double share = *rc::gen::inRange(0, 1001) / 1000.0;
    if (std::isinf(spec.max)) return share > 0.8 ? spec.max : spec.min + 1e6 * share;
    return spec.min + share * (spec.max - spec.min);
  };
  switch (spec.kind) {
    case OptionKind::kInteger:
      return *rc::gen::inRange(static_cast<int64_t>(spec.min), static_cast<int64_t>(spec.max) + 1);
    case OptionKind::kReal:
      return real();
    case OptionKind::kFlag:
      return *rc::gen::arbitrary<bool>();
    case OptionKind::kChoice:
      return *rc::gen::elementOf(spec.choices);
    case OptionKind::kText:
      return *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
    case OptionKind::kReals:
      return std::vector<double>{real(), real()};
    case OptionKind::kTexts:
      return std::vector<std::string>{*rc::gen::elementOf(spec.choices)};
  }
  return false;
}

RC_GTEST_PROP(Recipe, WrittenAndReadAgainIsTheSame, ()) {
  Recipe recipe = *parse("");
  for (const RecipeSection& section : schema()->sections()) {
    for (const OptionSpec& spec : section.options) {
      if (*rc::gen::inRange(0, 3) != 0) continue;
      const std::string key = cat(section.name, ".", spec.name);
      const OptionValue value = any_value(spec);
      recipe = *recipe.with(key, value, "test");
      if (*rc::gen::inRange(0, 3) == 0) recipe = *recipe.with_overlay("dn", key, value);
    }
  }
  const StatusOr<Recipe> again = parse(recipe.to_toml());
  RC_ASSERT(again.ok());
  RC_ASSERT(difference(recipe, *again).empty());
  RC_ASSERT(recipe == *again);
  RC_ASSERT(recipe.digest() == again->digest());
  RC_ASSERT(again->to_toml() == recipe.to_toml());
}

}  // namespace
}  // namespace rubato
