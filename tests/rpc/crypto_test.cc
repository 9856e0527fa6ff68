// The little cryptography of this room against known answers.
#include "rubato/rpc/crypto.h"

#include <set>

#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(Crypto, DigestsAreThoseOfTheStandard) {
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(to_hex(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_TRUE(is_hex("00ff", 4));
  EXPECT_FALSE(is_hex("00FF", 4));
  EXPECT_FALSE(is_hex("00ff", 5));
}

TEST(Crypto, SecretsAreWordsOf160BitsAndNeverTheSame) {
  std::set<std::string> secrets, bytes;
  std::set<char> characters;
  for (int i = 0; i < 200; ++i) {
    const std::string secret = draw_join_secret()->reveal();
    EXPECT_TRUE(is_join_secret(secret)) << secret;
    secrets.insert(secret);
    bytes.insert(*random_bytes(16));
    characters.insert(secret.begin(), secret.end());
  }
  EXPECT_EQ(secrets.size(), 200u);
  EXPECT_EQ(bytes.size(), 200u);
  EXPECT_EQ(characters.size(), 32u) << "6400 draws of 32 characters";
  EXPECT_FALSE(is_join_secret(std::string(31, 'a')));
  EXPECT_FALSE(is_join_secret(std::string(31, 'a') + "1"));
}

TEST(Crypto, ComparingLooksAtEveryByte) {
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  EXPECT_FALSE(equal_in_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_in_constant_time("abc", "xbc"));
  EXPECT_FALSE(equal_in_constant_time("abc", "ab"));
}

}  // namespace
}  // namespace rubato
