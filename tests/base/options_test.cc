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
}

}  // namespace
}  // namespace rubato
