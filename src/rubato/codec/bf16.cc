// bf16: the upper half of a float, rounded to nearest, ties to even.
//   |y - x| <= 2^-8 * |x| for normal y; NaN stays NaN, quiet, with the upper half of its payload
// Finite values from 2^128 - 2^119 on round to infinity, as IEEE 754 has it.
// Source: arXiv:1905.12322. A block is one value of 2 bytes; 16 bits a value.
// Invariant: values with a zero lower half survive (Bf16.* in codecs_test).
#include <bit>

#include "rubato/base/multiversion.h"
#include "rubato/codec/pieces.h"

namespace rubato {
namespace {

RUBATO_MULTIVERSION void encode_bf16(const float* __restrict values, int64_t count,
                                     std::byte* __restrict encoded) {
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<uint32_t>(values[i]);
    const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    const uint32_t quiet = (bits >> 16) | 0x40u;  // rounding could turn a NaN into an infinity
    const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
    store(encoded + 2 * i, static_cast<uint16_t>(nan ? quiet : rounded));
  }
}

RUBATO_MULTIVERSION void decode_bf16(const std::byte* __restrict encoded, int64_t count,
                                     float* __restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = std::bit_cast<float>(static_cast<uint32_t>(load<uint16_t>(encoded + 2 * i)) << 16);
  }
}

class Bf16 final : public Codec {
 public:
  Bf16() : Codec("bf16", 1, sizeof(uint16_t)) {}

 private:
  int64_t bytes_of_block(int64_t) const override { return block_bytes(); }
  void encode_blocks(const float* values, int64_t count, std::byte* encoded) const override {
    encode_bf16(values, count, encoded);
  }
  void decode_blocks(const std::byte* encoded, int64_t blocks, float* out) const override {
    decode_bf16(encoded, blocks, out);
  }
  void decode_part(std::span<const std::byte>, int64_t, std::span<float> out) const override {
    fill_missing(out);  // a value that is there is a whole block
  }
};

}  // namespace

extern const CodecEntry kBf16Entry = {
    {"bf16",
     "the upper half of every float, rounded to nearest, ties to even",
     "y = x rounded to 8 significant bits",
     "arXiv:1905.12322",
     {}},
    [](const Options&) -> StatusOr<std::unique_ptr<const Codec>> {
      return std::make_unique<Bf16>();
    }};

}  // namespace rubato
