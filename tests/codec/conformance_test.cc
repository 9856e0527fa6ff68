// The promises of codec/codec.h, for every registered codec with default and with odd options.
#include <cctype>
#include <cfenv>
#include <cmath>
#include <limits>
#include <thread>

#include "tests/codec/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "rubato/base/flat_ops.h"
#include "rubato/base/float_env.h"
#include "rubato/base/rng.h"

namespace rubato::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinite = std::numeric_limits<float>::infinity();

// Fewer than a block, borders of blocks, several blocks and a short one.
std::vector<int64_t> sizes_of(const Codec& codec) {
  const int64_t block = codec.block_values();
  std::vector<int64_t> sizes = {1, 2, 3, block, block + 1, 2 * block + 7};
  if (block > 1) sizes.push_back(block - 1);
  if (block < 5000) sizes.push_back(10'007);
  return sizes;
}

class CodecConformance : public ::testing::TestWithParam<size_t> {
 protected:
  static const std::vector<CodecCase>& cases() {
    static const std::vector<CodecCase> all = codec_cases();
    return all;
  }
  const Codec& codec() const { return *cases()[GetParam()].codec; }
  int64_t block() const { return codec().block_values(); }
};

INSTANTIATE_TEST_SUITE_P(Registry, CodecConformance,
                         ::testing::Range(size_t{0}, codec_cases().size()),
                         [](const auto& instance) {
                           std::string title = codec_cases()[instance.param].title;
                           for (char& c : title) c = std::isalnum(c) ? c : '_';
                           return title;
                         });

TEST_P(CodecConformance, SizesAreAFunctionOfTheCountAlone) {
  EXPECT_EQ(codec().encoded_bytes(0), 0);
  int64_t last = 0;
  for (int64_t count = 1; count <= std::min<int64_t>(3 * block(), 20'000); ++count) {
    const int64_t bytes = codec().encoded_bytes(count);
    ASSERT_GE(bytes, last) << count;
    last = bytes;
    const int64_t whole = count / block();
    ASSERT_GE(bytes, whole * codec().block_bytes());
    ASSERT_LE(bytes, (whole + (count % block() > 0 ? 1 : 0)) * codec().block_bytes());
  }
  EXPECT_EQ(codec().encoded_bytes(7 * block()), 7 * codec().block_bytes());
}

TEST_P(CodecConformance, TheSameValuesAreTheSameBytesWhoeverEncodes) {
  for (const int64_t size : sizes_of(codec())) {
    Floats values = random_floats(size, 1);
    values[0] = 1e-40f;  // a denormal beside normal values
    const Bytes encoded = encode(codec(), values);
    const Floats decoded = decode(codec(), encoded, 0, size);
    for (const bool flushing : {false, true}) {
      std::thread([&] {
        std::fesetenv(FE_DFL_ENV);  // a new thread has its parent's
        if (flushing) flush_denormals();
        EXPECT_EQ(denormals_are_flushed(), flushing);
        EXPECT_EQ(encode(codec(), values), encoded);
        EXPECT_TRUE(same_bits(decode(codec(), encoded, 0, size), decoded));
      }).join();
    }
  }
}

TEST_P(CodecConformance, WhatAnEncoderMakesPassesTheCheck) {
  for (const int64_t size : sizes_of(codec())) {
    for (const float first : {0.0f, 1.0f, -1e-40f, 3e38f, kNan, -kInfinite}) {
      Floats values = random_floats(size, 1);
      values[0] = first;
      const Status status = codec().check(encode(codec(), values), size);
      EXPECT_TRUE(status.ok()) << status;
    }
  }
}

TEST_P(CodecConformance, AWrongSizeIsRefused) {
  for (const int64_t size : sizes_of(codec())) {
    Bytes encoded = encode(codec(), random_floats(size, 1));
    encoded.push_back(std::byte{0});
    EXPECT_THAT(std::string(codec().check(encoded, size).message()),
                ::testing::StartsWith(cat("[codec] ", codec().name(), ": got ", encoded.size(),
                                          " bytes, want ", encoded.size() - 1, " for ", size)));
    encoded.resize(encoded.size() - 2);
    EXPECT_FALSE(codec().check(encoded, size).ok());
    EXPECT_FALSE(codec().check({}, size).ok());
  }
  EXPECT_TRUE(codec().check({}, 0).ok());
}

TEST_P(CodecConformance, BetweenTwoBordersOfBlocksLiesAnEncoding) {
  const int64_t size = 5 * block() + block() / 2 + 1, bytes = codec().encoded_bytes(size);
  const Floats values = random_floats(size, 2);
  const Bytes encoded = encode(codec(), values);
  const Floats decoded = decode(codec(), encoded, 0, size);
  for (int64_t from = 0; from < 5; ++from) {
    for (int64_t to = from + 1; to <= 6; ++to) {
      const int64_t begin = from * block(), end = std::min(to * block(), size);
      const int64_t at = from * codec().block_bytes();
      const auto part =
          std::span(encoded).subspan(at, std::min(to * codec().block_bytes(), bytes) - at);
      const auto of_part = std::span(values).subspan(begin, end - begin);
      const Bytes alone = encode(codec(), of_part);
      EXPECT_TRUE(std::ranges::equal(alone, part)) << from << " to " << to;
      EXPECT_TRUE(codec().check(part, end - begin).ok());
      EXPECT_TRUE(same_bits(decode(codec(), part, 0, end - begin),
                            std::span(decoded).subspan(begin, end - begin)));
    }
  }
}

TEST_P(CodecConformance, AnyRangeIsThatPartOfTheWhole) {
  for (const int64_t size : sizes_of(codec())) {
    const Floats values = random_floats(size, 3);
    const Bytes encoded = encode(codec(), values);
    const Floats decoded = decode(codec(), encoded, 0, size);
    Rng rng(17, RngStream::kTest, static_cast<uint64_t>(size));
    for (int i = 0; i < 100; ++i) {
      const auto first = static_cast<int64_t>(rng.below(static_cast<uint64_t>(size)));
      const auto count = static_cast<int64_t>(rng.below(static_cast<uint64_t>(size - first) + 1));
      ASSERT_TRUE(same_bits(decode(codec(), encoded, first, count),
                            std::span(decoded).subspan(first, count)))
          << count << " from " << first << " of " << size;
    }
  }
}

// Longer than the pieces that it is cut into.
TEST_P(CodecConformance, ARoundTripIsWhatTheOtherEndDecodes) {
  const Floats values = random_floats((int64_t{1} << 18) + 77, 6);
  const Floats want = sent(codec(), values);
  ThreadPool pool(2);
  for (ThreadPool* threads : {static_cast<ThreadPool*>(nullptr), &pool}) {
    Floats got = values;
    round_trip(codec(), got, threads);
    EXPECT_TRUE(same_bits(got, want));
  }
}

TEST_P(CodecConformance, ZerosAreZeros) {
  for (const int64_t size : sizes_of(codec())) {
    const Floats zeros(static_cast<size_t>(size));
    EXPECT_TRUE(same_bits(sent(codec(), zeros), zeros));
  }
}

// Up to the largest value that bf16 has; what lies above is bf16's own business.
TEST_P(CodecConformance, FiniteValuesStayFiniteAndGrowNoLargerThanTheirBlock) {
  const float largest = 0x1.FEp127f;
  for (const float extreme : {largest, -largest, 1e-37f, -1e-40f, 0x1p-100f, 1.0f}) {
    for (const int64_t size : sizes_of(codec())) {
      Floats values(static_cast<size_t>(size), extreme);
      if (size > 1) values[1] = extreme / 3;
      const Floats decoded = sent(codec(), values);
      for (size_t i = 0; i < values.size(); ++i) {
        ASSERT_TRUE(std::isfinite(decoded[i])) << extreme;
        ASSERT_LE(std::abs(decoded[i]), std::abs(extreme)) << extreme;
        ASSERT_FALSE(decoded[i] * extreme < 0) << extreme;
      }
    }
  }
}

// What error feedback lives on: what is left out of a value is no larger than its block's largest.
TEST_P(CodecConformance, TheErrorIsAtMostTheLargestOfTheBlock) {
  for (const int64_t size : sizes_of(codec())) {
    const Floats values = random_floats(size, 4), decoded = sent(codec(), values);
    for (int64_t begin = 0; begin < size; begin += block()) {
      float largest = 0, error = 0;
      for (int64_t i = begin; i < std::min(begin + block(), size); ++i) {
        largest = std::max(largest, std::abs(values[i]));
        error = std::max(error, std::abs(values[i] - decoded[i]));
      }
      ASSERT_LE(error, largest);
    }
    if (codec().lossless()) {
      EXPECT_TRUE(same_bits(values, decoded));
    }
  }
}

TEST_P(CodecConformance, WhatIsNotFiniteIsNotHidden) {
  for (const int64_t size : sizes_of(codec())) {
    for (const float bad : {kNan, -kNan, kInfinite, -kInfinite}) {
      for (const int64_t where : {int64_t{0}, size / 2, size - 1}) {
        Floats values = random_floats(size, 5);
        values[where] = bad;
        const Floats decoded = sent(codec(), values);
        const int64_t begin = where / block() * block();
        const int64_t end = std::min(begin + block(), size);
        EXPECT_FALSE(all_finite(std::span(decoded).subspan(begin, end - begin))) << bad;
        EXPECT_TRUE(all_finite(std::span(decoded).first(begin))) << "another block is another's";
        EXPECT_TRUE(all_finite(std::span(decoded).subspan(end)));
      }
    }
  }
}

TEST_P(CodecConformance, WhatIsMissingIsNotANumber) {
  const int64_t size = 3 * block();
  const Bytes encoded = encode(codec(), random_floats(size, 6));
  const auto two = std::span(encoded).first(2 * codec().block_bytes());
  const Floats decoded = decode(codec(), two, 0, size);
  EXPECT_TRUE(
      same_bits(std::span(decoded).first(2 * block()), decode(codec(), encoded, 0, 2 * block())));
  for (int64_t i = 2 * block(); i < size; ++i) ASSERT_TRUE(std::isnan(decoded[i])) << i;
  for (const float value : decode(codec(), two, 1'000'000'007, 5)) EXPECT_TRUE(std::isnan(value));
  for (const float value : decode(codec(), {}, 0, 70)) EXPECT_TRUE(std::isnan(value));
  EXPECT_TRUE(decode(codec(), encoded, 1, 0).empty());
}

// The sanitizers see what is read; bounds of what is written are in the span.
TEST_P(CodecConformance, AnyBytesDecode) {
  Rng rng(19, RngStream::kTest, GetParam());
  for (int round = 0; round < 200; ++round) {
    Bytes bytes(rng.below(static_cast<uint64_t>(2 * codec().block_bytes()) + 2));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.below(256));
    const auto first = static_cast<int64_t>(rng.below(static_cast<uint64_t>(2 * block()) + 2));
    const Floats out = decode(codec(), bytes, first, 1 + static_cast<int64_t>(rng.below(300)));
    EXPECT_FALSE(out.empty());
    const Status status = codec().check(bytes, first);
    EXPECT_TRUE(status.ok() || std::string(status.message()).starts_with("[codec] "));
  }
}

TEST(CodecRegistry, OptionsAreGuarded) {
  const auto refused = [](const CodecEntry& entry, const std::string& name,
                          const OptionValue& value) {
    const Status status = make_codec(entry.name, {{name, value}}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << entry.name << "." << name;
    EXPECT_TRUE(std::string(status.message()).starts_with(cat("[", entry.name, "] "))) << status;
  };
  for (const CodecEntry* entry : codec_entries()) {
    EXPECT_FALSE(entry->summary.empty());
    EXPECT_FALSE(entry->formula.empty());
    EXPECT_FALSE(entry->source.empty());
    EXPECT_EQ(codec_of(entry->name)->name(), entry->name);
    refused(*entry, "no_such_option", 1.0);
    for (const OptionSpec& spec : entry->options) {
      EXPECT_FALSE(spec.meaning.empty());
      EXPECT_TRUE(make_codec(entry->name, {{spec.name, spec.default_value}}).ok());
      refused(*entry, spec.name, std::string("many"));
      if (spec.kind == OptionKind::kInteger) {
        refused(*entry, spec.name, static_cast<int64_t>(spec.min) - 1);
        refused(*entry, spec.name, static_cast<int64_t>(spec.max) + 1);
      } else {
        refused(*entry, spec.name, spec.min * 0.99);
        refused(*entry, spec.name, spec.max * 1.001);
        refused(*entry, spec.name, std::nan(""));
      }
    }
  }
  EXPECT_EQ(make_codec("int9").status().message(),
            "[codec] unknown codec int9 (did you mean int4, int8?)");
}

TEST(CodecRegistry, NamesAreUnique) {
  std::map<std::string, int> count;
  for (const CodecEntry* entry : codec_entries()) ++count[entry->name];
  for (const auto& [name, times] : count) EXPECT_EQ(times, 1) << name;
}

}  // namespace
}  // namespace rubato::testing
