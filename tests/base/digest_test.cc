#include "rubato/base/digest.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

// Values of the reference implementation for the empty input, seed 0.
TEST(Digest, IsXxh3) {
  EXPECT_EQ(digest_of(std::string_view()), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(checksum_of(""), 0x2d06800538d394c2u);
}

TEST(Digest, PiecesGiveTheDigestOfTheWhole) {
  Digester digester;
  for (const char* piece : {"some ", "", "pieces"}) digester.update(piece);
  EXPECT_EQ(digester.hex(), digest_of(std::string_view("some pieces")));
}

TEST(Digest, ASeedMakesAnotherSum) {
  const std::string long_text(1000, 'x');
  for (const std::string_view text : {std::string_view("x"), std::string_view(long_text)}) {
    EXPECT_EQ(checksum_of(text, 0), checksum_of(text));
    EXPECT_NE(checksum_of(text, 1), checksum_of(text));
    EXPECT_NE(checksum_of(text, 1), checksum_of(text, 2));
  }
}

}  // namespace
}  // namespace rubato
