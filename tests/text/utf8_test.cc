#include "rubato/text/utf8.h"

#include <string>

#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(Utf8, KnowsWhereTextStopsBeingValid) {
  const std::string good =
      "eight bytes and more, \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x8E\xBB \xEF\xBF\xBD";
  EXPECT_EQ(valid_utf8_prefix(good), good.size());
  EXPECT_EQ(valid_utf8_prefix(""), 0u);
  for (const std::string bad :
       {"\x80",              // continuation without a lead
        "\xC0\x80",          // overlong NUL
        "\xC1\xBF",          // overlong
        "\xE0\x9F\xBF",      // overlong
        "\xED\xA0\x80",      // surrogate
        "\xF0\x8F\xBF\xBF",  // overlong
        "\xF4\x90\x80\x80",  // above U+10FFFF
        "\xF5\x80\x80\x80", "\xFF", "\xC3(", "\xE2\x82(", "\xF0\x9F\x8E("}) {
    EXPECT_EQ(valid_utf8_prefix(good + bad + good), good.size()) << bad;
    EXPECT_FALSE(is_incomplete_utf8(bad + good)) << bad;
  }
}

TEST(Utf8, BoundsOfEachLengthAreValid) {
  for (const std::string text :
       {"\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
        "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(valid_utf8_prefix(text), text.size());
    EXPECT_FALSE(is_incomplete_utf8(text));
    for (size_t cut = 1; cut < text.size(); ++cut) {
      EXPECT_EQ(valid_utf8_prefix(text.substr(0, cut)), 0u);
      EXPECT_TRUE(is_incomplete_utf8(text.substr(0, cut)));
    }
  }
  EXPECT_FALSE(is_incomplete_utf8(""));
}

}  // namespace
}  // namespace rubato
