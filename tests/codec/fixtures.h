// What the tests of codecs share: every codec with default and odd options, seeded values, and one
// call that encodes or decodes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rubato/codec/codec.h"

namespace rubato::testing {

using Floats = std::vector<float>;
using Bytes = std::vector<std::byte>;
using CodecOptions = std::map<std::string, OptionValue>;

/// The test fails hard when it cannot be made.
std::unique_ptr<const Codec> codec_of(const std::string& name, const CodecOptions& options = {});

struct CodecCase {
  std::string title;
  std::unique_ptr<const Codec> codec;
};
/// Every registered codec with its defaults, and with each option at its ends and in between.
std::vector<CodecCase> codec_cases();

/// Normal values from (kTest, key) with standard deviations that change from run to run of 50.
Floats random_floats(int64_t size, uint64_t key);

/// The encoding, after its size has been checked against the buffer's guards.
Bytes encode(const Codec& codec, std::span<const float> values);
/// Values [first, first + count) of it.
Floats decode(const Codec& codec, std::span<const std::byte> encoded, int64_t first, int64_t count);
/// Both at once.
Floats sent(const Codec& codec, std::span<const float> values);

/// The same bytes, so that -0 and NaN count too.
bool same_bits(std::span<const float> x, std::span<const float> y);

}  // namespace rubato::testing
