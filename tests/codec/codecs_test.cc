// Each codec against its formula and its bytes (docs/formats.md), and the bytes that none makes.
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "tests/codec/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

float from_bits(uint32_t bits) { return std::bit_cast<float>(bits); }

std::string flaw(const Codec& codec, const Bytes& encoded, int64_t count) {
  return std::string(codec.check(encoded, count).message());
}

RC_GTEST_PROP(Fp32, KeepsEveryBit, (const std::vector<uint32_t>& patterns)) {
  Floats values;
  for (const uint32_t bits : patterns) values.push_back(from_bits(bits));
  RC_ASSERT(same_bits(sent(*codec_of("fp32"), values), values));
}

TEST(Fp32, IsLittleEndian) {
  EXPECT_EQ(encode(*codec_of("fp32"), Floats{from_bits(0x01020304)}), bytes_of({4, 3, 2, 1}));
}

TEST(Bf16, RoundsToNearestTiesToEven) {
  const auto rounded = [](uint32_t bits) {
    return std::bit_cast<uint32_t>(sent(*codec_of("bf16"), Floats{from_bits(bits)})[0]);
  };
  EXPECT_EQ(rounded(0x3F800000), 0x3F800000u);
  EXPECT_EQ(rounded(0x3F807FFF), 0x3F800000u);
  EXPECT_EQ(rounded(0x3F808000), 0x3F800000u) << "a tie goes to the even one";
  EXPECT_EQ(rounded(0x3F808001), 0x3F810000u);
  EXPECT_EQ(rounded(0x3F818000), 0x3F820000u) << "a tie goes to the even one";
  EXPECT_EQ(rounded(0xBF818000), 0xBF820000u);
  EXPECT_EQ(rounded(0x80000000), 0x80000000u) << "minus zero";
  EXPECT_EQ(rounded(0x00018000), 0x00020000u) << "denormals are no exception";
  EXPECT_EQ(rounded(0x7F7F7FFF), 0x7F7F0000u) << "the last that is not infinite";
  EXPECT_EQ(rounded(0x7F7F8000), 0x7F800000u);
  EXPECT_EQ(rounded(0x7F800001), 0x7FC00000u) << "a NaN never rounds to infinity";
  EXPECT_EQ(rounded(0xFFFFFFFF), 0xFFFF0000u);
  EXPECT_EQ(encode(*codec_of("bf16"), Floats{1.0f}), bytes_of({0x80, 0x3F}));
}

RC_GTEST_PROP(Bf16, IsTheNearerOfItsNeighbours, (uint32_t pattern)) {
  const float x = from_bits(pattern);
  RC_PRE(std::isfinite(x));
  const float y = sent(*codec_of("bf16"), Floats{x})[0];
  const float below = from_bits(pattern & 0xFFFF0000u);  // towards zero
  const float above = from_bits((pattern & 0xFFFF0000u) + 0x10000u);
  RC_ASSERT(y == below || y == above);
  if (std::isfinite(above)) {
    const auto gap = [x](float z) {
      return std::abs(static_cast<double>(x) - static_cast<double>(z));
    };
    RC_ASSERT(gap(y) == std::min(gap(below), gap(above)));
  }
}

// int8 and int4: what they share, with the largest code of each.
struct BlockwiseCase {
  std::string name;
  double most;
};
class Blockwise : public ::testing::TestWithParam<BlockwiseCase> {};
INSTANTIATE_TEST_SUITE_P(Codecs, Blockwise,
                         ::testing::Values(BlockwiseCase{"int8", 127}, BlockwiseCase{"int4", 7}),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(Blockwise, TheErrorIsHalfAScaleAndTheLargestComesBack) {
  const auto& [name, most] = GetParam();
  for (const int64_t block : {32, 64, 256, 1000}) {
    const auto codec = codec_of(name, {{"block", block}});
    for (uint64_t key = 0; key < 20; ++key) {
      const Floats x = random_floats(3 * block + 11, key), y = sent(*codec, x);
      for (int64_t begin = 0; begin < std::ssize(x); begin += block) {
        const int64_t end = std::min(begin + block, std::ssize(x));
        double absmax = 0;
        for (int64_t i = begin; i < end; ++i) absmax = std::max(absmax, std::abs(double{x[i]}));
        for (int64_t i = begin; i < end; ++i) {
          ASSERT_LE(std::abs(double{x[i]} - double{y[i]}), 0.5001 * absmax / most);
          ASSERT_LE(std::abs(y[i]), absmax);
          if (std::abs(x[i]) == absmax) {
            ASSERT_NEAR(y[i] / x[i], 1, 0x1p-22);
          }
        }
      }
    }
  }
}

TEST_P(Blockwise, WholeNumbersComeBackAndTiesGoToTheEvenOne) {
  const auto& [name, most] = GetParam();
  const auto codec = codec_of(name);
  const auto top = static_cast<float>(most);
  EXPECT_THAT(sent(*codec, Floats{top, 0, 1, -1, 2, -top}), ElementsAre(top, 0, 1, -1, 2, -top));
  EXPECT_THAT(sent(*codec, Floats{0.5f, 1.5f, -0.5f, -1.5f, 2.5f, top}),
              ElementsAre(0, 2, 0, -2, 2, top));
}

TEST_P(Blockwise, ExtremesFitTheScale) {
  const auto codec = codec_of(GetParam().name);
  const float largest = std::numeric_limits<float>::max();
  const Floats decoded = sent(*codec, Floats{largest, -largest, 0});
  EXPECT_LE(decoded[0], largest);
  EXPECT_GE(decoded[0], largest * (1 - 0x1p-22f));
  EXPECT_EQ(decoded[1], -decoded[0]);
  EXPECT_GT(sent(*codec, Floats{0x1p-100f})[0], 0);
  EXPECT_EQ(sent(*codec, Floats{0x1.FFFFFEp-101f})[0], 0) << "so small a block is none";
}

TEST_P(Blockwise, ABlockWithNanIsNan) {
  const auto codec = codec_of(GetParam().name, {{"block", int64_t{32}}});
  Floats values(70, 1.0f);
  values[40] = std::numeric_limits<float>::infinity();
  const Floats decoded = sent(*codec, values);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(std::isnan(decoded[i]), i >= 32 && i < 64) << i;
  }
}

TEST_P(Blockwise, ScalesThatNoEncoderMakesAreRefused) {
  const auto codec = codec_of(GetParam().name);
  Bytes encoded = encode(*codec, Floats{1, 2});
  for (const uint32_t bits : {0x80000000u, 0x7F800000u, 0xFFC00000u, 0x7FC00001u, 0x00000001u,
                              0xBF800000u, 0x7F7FFFFFu}) {
    for (int i = 0; i < 4; ++i) encoded[i] = static_cast<std::byte>(bits >> 8 * i);
    EXPECT_THAT(flaw(*codec, encoded, 2), HasSubstr(cat(GetParam().name, ": block 0: got scale ")));
  }
}

TEST(Int8, IsAScaleAndItsCodes) {
  const auto codec = codec_of("int8", {{"block", int64_t{32}}});
  const Bytes encoded = encode(*codec, Floats{-127, 1, 0, 5});
  EXPECT_EQ(encoded, bytes_of({0, 0, 0x80, 0x3F, 0x81, 1, 0, 5}));
  EXPECT_EQ(codec->block_bytes(), 36);
  Bytes hostile = encoded;
  hostile[5] = std::byte{0x80};
  EXPECT_EQ(flaw(*codec, hostile, 4),
            "[codec] int8: block 0: got code -128, want codes in [-127, 127]");
  EXPECT_EQ(decode(*codec, hostile, 1, 1)[0], -128);
}

TEST(Int4, AByteHoldsACodeOfEitherHalf) {
  const auto codec = codec_of("int4", {{"block", int64_t{32}}});
  EXPECT_EQ(codec->block_bytes(), 20);
  // Codes + 8 of -7, 1 | 3, 7: low nibbles first half, high nibbles second.
  const Bytes even = encode(*codec, Floats{-7, 1, 3, 7});
  EXPECT_EQ(even, bytes_of({0, 0, 0x80, 0x3F, 0xB1, 0xF9}));
  const Bytes odd = encode(*codec, Floats{-7, 1, 0, 3, 7});
  EXPECT_EQ(odd, bytes_of({0, 0, 0x80, 0x3F, 0xB1, 0xF9, 0x08}));
  EXPECT_EQ(encode(*codec, Floats{0}), bytes_of({0, 0, 0, 0, 0x08}));
  const auto refused = [&](Bytes encoded, size_t where, int byte, int64_t count) {
    encoded[where] = static_cast<std::byte>(byte);
    EXPECT_THAT(flaw(*codec, encoded, count), HasSubstr("[codec] int4: block 0: got a code of 0"));
  };
  refused(even, 4, 0xB0, 4);
  refused(even, 5, 0x09, 4);
  refused(odd, 6, 0x18, 5);
  refused(odd, 6, 0x00, 5);
  EXPECT_EQ(make_codec("int4", {{"block", int64_t{33}}}).status().message(),
            "[int4] block: got 33, want an even number");
}

TEST(TopK, KeepsTheLargestAsTheyAre) {
  const auto codec = codec_of("top_k", {{"share", 0.4}});
  EXPECT_THAT(sent(*codec, Floats{1, -5, 2, 0.5f, 4}), ElementsAre(0, -5, 0, 0, 4));
  EXPECT_EQ(encode(*codec, Floats{1, -5, 2, 0.5f, 4}),
            bytes_of({1, 0, 4, 0, 0, 0, 0xA0, 0xC0, 0, 0, 0x80, 0x40}));
}

TEST(TopK, OfEqualMagnitudesTheEarlierIsKept) {
  const auto codec = codec_of("top_k", {{"share", 0.4}});
  EXPECT_THAT(sent(*codec, Floats{1, 2, -2, 2, 1}), ElementsAre(0, 2, -2, 0, 0));
  EXPECT_THAT(sent(*codec, Floats{3, 2, -2, 2, 1}), ElementsAre(3, 2, 0, 0, 0));
  EXPECT_THAT(sent(*codec, Floats(5, -7.0f)), ElementsAre(-7, -7, 0, 0, 0));
}

// Against a sort, over values with many ties and over many powers of two.
RC_GTEST_PROP(TopK, IsWhatASortFinds, ()) {
  const auto block = *rc::gen::inRange<int64_t>(32, 200);
  const double share = *rc::gen::element(0.0001, 0.01, 0.1, 0.5, 0.99, 1.0);
  const auto codec = codec_of("top_k", {{"block", block}, {"share", share}});
  const auto size = *rc::gen::inRange<size_t>(1, 500);
  const bool ties = *rc::gen::arbitrary<bool>();
  const auto patterns =
      *rc::gen::container<std::vector<uint32_t>>(size, rc::gen::arbitrary<uint32_t>());
  Floats x;
  for (const uint32_t bits : patterns) {
    x.push_back(ties ? static_cast<float>(bits % 5) - 2.0f
                     : from_bits(bits % 0x7F800000u | (bits & 0x80000000u)));
  }
  Floats want(size);
  for (int64_t begin = 0; begin < std::ssize(x); begin += block) {
    const int64_t count = std::min(block, std::ssize(x) - begin);
    std::vector<int64_t> order(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) order[i] = begin + i;
    // By bits, which tell denormals apart whoever flushes them.
    const auto magnitude = [&](int64_t i) { return std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu; };
    std::ranges::stable_sort(order, std::greater<>(), magnitude);
    const auto kept = static_cast<int64_t>(std::ceil(share * static_cast<double>(count)));
    for (int64_t i = 0; i < kept; ++i) want[order[i]] = x[order[i]];
  }
  RC_ASSERT(same_bits(sent(*codec, x), want));
}

TEST(TopK, TheShareIsTheSizeOfEveryBlock) {
  const auto codec = codec_of("top_k", {{"share", 0.01}});
  EXPECT_EQ(codec->block_bytes(), 41 * 6);
  EXPECT_EQ(codec->encoded_bytes(4096 + 1), 42 * 6) << "a lone value is kept";
  EXPECT_EQ(codec->encoded_bytes(200), 2 * 6);
  EXPECT_EQ(codec->encoded_bytes(201), 3 * 6);
}

TEST(TopK, IndicesThatNoEncoderMakesAreRefusedAndWriteNowhere) {
  const auto codec = codec_of("top_k", {{"share", 0.4}});
  Bytes encoded = encode(*codec, Floats{1, -5, 2, 0.5f, 4});
  encoded[0] = std::byte{4};
  EXPECT_EQ(flaw(*codec, encoded, 5),
            "[codec] top_k: block 0: got index 4, want one in [5, 5); indices increase");
  encoded[0] = std::byte{7};
  EXPECT_EQ(flaw(*codec, encoded, 5),
            "[codec] top_k: block 0: got index 7, want one in [0, 5); indices increase");
  EXPECT_THAT(decode(*codec, encoded, 0, 4), Each(0));
}

}  // namespace
}  // namespace rubato::testing
