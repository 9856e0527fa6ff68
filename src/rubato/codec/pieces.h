// Pieces that several codecs share: bytes of numbers, and the scale of a block that is rounded to
// small integers ("codes"). Everything a hot loop calls is inlined, so that it is compiled for the
// loop's own processor.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "rubato/codec/codec.h"

namespace rubato {

static_assert(std::endian::native == std::endian::little, "encodings are little-endian");

#define RUBATO_INLINE inline __attribute__((always_inline))

template <class T>
RUBATO_INLINE T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
RUBATO_INLINE void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

/// What values decode to whose bytes are missing.
inline void fill_missing(std::span<float> out) {
  std::ranges::fill(out, std::numeric_limits<float>::quiet_NaN());
}

/// The bits of |x|, which are ordered as |x| is, NaN behind infinity; denormals are not flushed.
RUBATO_INLINE int32_t magnitude(float x) { return std::bit_cast<int32_t>(x) & 0x7FFFFFFF; }

inline constexpr int32_t kInfinity = 0x7F800000;

/// A block whose largest value is below this is rounded to 0. So small a delta is none, and its
/// reciprocal and products would be where denormals and flushing threads make a difference.
inline constexpr float kLeastAbsmax = 0x1p-100f;

/// Values are code * scale. Decoding knows only the scale.
struct BlockScale {
  float scale;    // 0, or NaN for a block with a value that is not finite, or normal
  float inverse;  // code = round(x * inverse); 0 when all codes are 0
};

/// For codes in [-most, most]: scale = absmax/most, rounded towards 0 so that no product exceeds
/// absmax, which may be the largest float.
RUBATO_INLINE BlockScale block_scale(const float* values, int64_t count, float most) {
  int32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, magnitude(values[i]));
  if (largest >= kInfinity) return {std::numeric_limits<float>::quiet_NaN(), 0};
  const auto absmax = std::bit_cast<float>(largest);
  if (largest < std::bit_cast<int32_t>(kLeastAbsmax)) return {0, 0};
  float scale = absmax / most;
  if (static_cast<double>(scale) * static_cast<double>(most) > static_cast<double>(absmax)) {
    scale = std::bit_cast<float>(std::bit_cast<int32_t>(scale) - 1);
  }
  return {scale, most / absmax};
}

/// The code of x in the low bits: adding 1.5 * 2^23 rounds to the nearest integer, ties to even,
/// and leaves it at the end of the mantissa. |x * inverse| <= 127.
RUBATO_INLINE uint32_t code_bits(float x, float inverse, float offset = 0) {
  return std::bit_cast<uint32_t>(x * inverse + (12582912.0f + offset));
}

/// Why `scale` is none that block_scale() makes for codes in [-most, most]; "" if it is one.
inline std::string flaw_of_scale(float scale, float most) {
  const auto bits = std::bit_cast<uint32_t>(scale);
  const auto nan = std::bit_cast<uint32_t>(std::numeric_limits<float>::quiet_NaN());
  const float least = kLeastAbsmax / most, largest = std::numeric_limits<float>::max() / most;
  if (bits == 0 || bits == nan) return "";
  if (scale >= std::bit_cast<float>(std::bit_cast<int32_t>(least) - 1) && scale <= largest)
    return "";
  return cat("got scale ", scale, ", want 0, the quiet NaN or a number in [", least, ", ", largest,
             "]");
}

/// The option of block sizes; below 32 values a scale would weigh as much as the codes.
inline OptionSpec block_option(int64_t default_value, std::string meaning) {
  return integer_option("block", default_value, 32, 65536, "values", std::move(meaning));
}

}  // namespace rubato
