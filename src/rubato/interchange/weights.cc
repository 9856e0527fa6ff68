#include "rubato/interchange/weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "rubato/base/options.h"

namespace rubato {
namespace {

static_assert(std::endian::native == std::endian::little, "the formats are little-endian");

const std::array<std::string, 3> kNames = {"f32", "f16", "q8_0"};

// Beyond, the nearest half is infinite.
constexpr float kLargestHalf = 65519.996f;

void append_half(float value, std::string& out) {
  const uint16_t half = half_of(value);
  out.append(reinterpret_cast<const char*>(&half), sizeof half);
}

// The scale is rounded to half precision after the integers are made of it, as ggml does.
void append_block(std::span<const float> values, std::string& out) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  const float scale = largest / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
  append_half(scale, out);
  for (const float value : values)
    out.push_back(static_cast<char>(static_cast<int8_t>(std::round(value * inverse))));
}

template <class Unit, class Widen>
void widen(std::string_view bytes, std::span<float> out, Widen widen_one) {
  RUBATO_CHECK(bytes.size() == out.size() * sizeof(Unit));
  for (size_t i = 0; i < out.size(); ++i) {
    Unit unit;
    std::memcpy(&unit, bytes.data() + i * sizeof(Unit), sizeof(Unit));
    out[i] = widen_one(unit);
  }
}

}  // namespace

std::string_view weight_type_name(WeightType type) { return kNames[static_cast<size_t>(type)]; }

StatusOr<WeightType> parse_weight_type(std::string_view name) {
  const auto at = std::ranges::find(kNames, name);
  if (at != kNames.end()) return static_cast<WeightType>(at - kNames.begin());
  return absl::InvalidArgumentError(cat("[export] unknown type ", name, suggestion(name, kNames)));
}

int64_t weight_bytes(WeightType type, int64_t values) {
  if (type == WeightType::kF32) return 4 * values;
  if (type == WeightType::kF16) return 2 * values;
  return values / kQ8Block * (2 + kQ8Block);
}

Status append_weights(WeightType type, std::span<const float> values, std::string& out) {
  if (type == WeightType::kF32) {
    out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
    return absl::OkStatus();
  }
  // A block's scale is at most its largest number, over 127.
  const float limit = type == WeightType::kF16 ? kLargestHalf : 127.0f * kLargestHalf;
  for (const float value : values) {
    if (std::abs(value) <= limit) continue;
    return absl::InvalidArgumentError(cat("[export] got the number ", value, ", want at most ",
                                          limit, " in ", weight_type_name(type),
                                          "; --type f32 takes it"));
  }
  if (type == WeightType::kF16) {
    for (const float value : values) append_half(value, out);
    return absl::OkStatus();
  }
  RUBATO_CHECK(values.size() % kQ8Block == 0);
  for (size_t begin = 0; begin < values.size(); begin += kQ8Block)
    append_block(values.subspan(begin, kQ8Block), out);
  return absl::OkStatus();
}

uint16_t half_of(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  const auto with_sign = [sign](uint32_t half) { return static_cast<uint16_t>(sign | half); };
  if (magnitude > 0x7f800000) return with_sign(0x7e00);   // not a number
  if (magnitude >= 0x477ff000) return with_sign(0x7c00);  // 65520: as far from infinity
  if (magnitude < 0x38800000) {                           // below 2^-14 steps are of 2^-24
    return with_sign(static_cast<uint32_t>(std::lrint(std::bit_cast<float>(magnitude) * 0x1p24f)));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return with_sign((rounded - 0x38000000) >> 13);  // exponents are 112 apart
}

float float_of_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 31, fraction = half & 0x3ff;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

bool widen_weights(TensorType type, std::string_view bytes, std::span<float> out) {
  switch (type) {
    case TensorType::kF32:
      widen<float>(bytes, out, [](float value) { return value; });
      return true;
    case TensorType::kF16:
      widen<uint16_t>(bytes, out, float_of_half);
      return true;
    case TensorType::kBf16:
      widen<uint16_t>(bytes, out, [](uint16_t high) {
        return std::bit_cast<float>(static_cast<uint32_t>(high) << 16);
      });
      return true;
    default:
      return false;
  }
}

}  // namespace rubato
