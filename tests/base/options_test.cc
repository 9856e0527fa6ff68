#include "rubato/base/options.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

const std::vector<OptionSpec> kSpecs = {
    real_option("lr", 0.7, 0, 10, "1", "outer step"),
    integer_option("period", 4, 1, 64, "arrivals", "N"),
    choice_option("mode", "keep", {"keep", "reset"}, "what happens to the state"),
};

TEST(Options, DefaultsAreOverlaidWithWhatIsGiven) {
  const auto options = Options::resolve("rule", kSpecs, {{"lr", int64_t{1}}});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->real("lr"), 1.0);
  EXPECT_EQ(options->integer("period"), 4);
  EXPECT_EQ(options->text("mode"), "keep");
}

TEST(Options, UnknownNameNamesTheNearest) {
  const auto options = Options::resolve("rule", kSpecs, {{"perod", int64_t{1}}});
  EXPECT_EQ(options.status().message(), "[rule] unknown option perod (did you mean period?)");
}

TEST(Options, OnlyNamesThatAreAboutAsNearAsTheNearestAreSuggested) {
  const std::vector<std::string> known = {"dn-dylu", "dylu", "dn", "fedbuff"};
  EXPECT_EQ(suggestion("dn-dilu", known), " (did you mean dn-dylu?)");
  EXPECT_EQ(suggestion("quorum", known), " (known: dn-dylu, dylu, dn, fedbuff)");
}

TEST(Options, OutOfRangeSaysWhatIsWanted) {
  EXPECT_EQ(Options::resolve("rule", kSpecs, {{"period", int64_t{0}}}).status().message(),
            "[rule] period: got 0, want an integer in [1, 64] arrivals");
  EXPECT_EQ(Options::resolve("rule", kSpecs, {{"mode", std::string("lose")}}).status().message(),
            "[rule] mode: got \"lose\", want one of keep, reset");
  EXPECT_FALSE(Options::resolve("rule", kSpecs, {{"period", 1.5}}).ok());
}

TEST(Options, ValuesAreWrittenAsARecipeReadsThem) {
  EXPECT_EQ(to_text(OptionValue(1.0)), "1.0");
  EXPECT_EQ(to_text(OptionValue(0.1)), "0.1");
  EXPECT_EQ(to_text(OptionValue(int64_t{3})), "3");
  EXPECT_EQ(to_text(OptionValue(std::string("a\"b"))), "\"a\\\"b\"");
  EXPECT_EQ(to_text(OptionValue(std::string("a\nb\x01"))), "\"a\\nb\\u0001\"");
  EXPECT_EQ(to_text(OptionValue(std::vector<double>{1, 0.5})), "[1.0, 0.5]");
  EXPECT_EQ(to_text(OptionValue(std::vector<std::string>{"a", "b"})), "[\"a\", \"b\"]");
}

TEST(Options, ListsAreCheckedElementByElement) {
  const std::vector<OptionSpec> specs = {
      reals_option("speeds", {1.0, 2.0}, 0, 10, "s", "per worker"),
      texts_option("links", {}, {"weight", "buffer"}, "in order")};
  const auto options = Options::resolve("fleet", specs, {{"speeds", std::vector<double>{3.5}}});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->reals("speeds"), std::vector<double>{3.5});
  EXPECT_TRUE(options->texts("links").empty());
  EXPECT_EQ(
      Options::resolve("fleet", specs, {{"speeds", std::vector<double>{1, 11}}}).status().message(),
      "[fleet] speeds: got [1.0, 11.0], want a list of numbers in [0, 10]");
  EXPECT_EQ(Options::resolve("fleet", specs, {{"links", std::vector<std::string>{"wait"}}})
                .status()
                .message(),
            "[fleet] links: got [\"wait\"], want a list of any of weight, buffer");
  EXPECT_FALSE(Options::resolve("fleet", specs, {{"links", std::string("weight")}}).ok());
}

TEST(Options, AnEmptyListSuitsEveryListOption) {
  const std::vector<OptionSpec> specs = {reals_option("speeds", {1.0}, 0, 10, "s", "per worker")};
  const auto options = Options::resolve("fleet", specs, {{"speeds", std::vector<std::string>{}}});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_TRUE(options->reals("speeds").empty());
}

TEST(Options, AnOptionalOptionIsAbsentUntilItIsGiven) {
  const std::vector<OptionSpec> specs = {
      optional(integer_option("layers", 1, 1, 99, "1", "depth"))};
  EXPECT_FALSE(Options::resolve("model", specs, {})->has("layers"));
  EXPECT_EQ(Options::resolve("model", specs, {{"layers", int64_t{3}}})->integer("layers"), 3);
}

}  // namespace
}  // namespace rubato
