// int8: whole numbers in [-127, 127] times the scale of their block.
//   scale = max |x| / 127 over the block, rounded towards 0;  code = round(x * 127 / max |x|)
//   y = scale * code;  |y - x| <= 0.5001 * scale, |y| <= max |x|
// Rounding is to nearest, ties to even. A block whose largest value is below 2^-100 becomes zeros.
// Source: blockwise absmax, arXiv:2110.02861; linear codes.
// 8 + 32/block bits a value.
// Invariant: a block's largest value comes back within 2^-22 of itself (Blockwise.* in
// codecs_test).
#include "rubato/base/multiversion.h"
#include "rubato/codec/pieces.h"

namespace rubato {
namespace {

constexpr float kMost = 127;
constexpr int64_t kHead = sizeof(float);  // [bytes] in front of the codes

RUBATO_MULTIVERSION void encode_int8(const float* __restrict values, int64_t count, int64_t block,
                                     std::byte* __restrict encoded) {
  for (int64_t begin = 0; begin < count; begin += block) {
    const int64_t size = std::min(block, count - begin);
    const float* x = values + begin;
    const BlockScale s = block_scale(x, size, kMost);
    store(encoded, s.scale);
    std::byte* codes = encoded + kHead;
    if (s.inverse == 0) {
      std::memset(codes, 0, static_cast<size_t>(size));
    } else {
      for (int64_t i = 0; i < size; ++i)
        codes[i] = static_cast<std::byte>(code_bits(x[i], s.inverse));
    }
    encoded = codes + size;
  }
}

RUBATO_INLINE void decode_codes(float scale, const std::byte* __restrict codes, int64_t count,
                                float* __restrict out) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = scale * static_cast<float>(static_cast<int8_t>(codes[i]));
}

RUBATO_MULTIVERSION void decode_int8(const std::byte* __restrict encoded, int64_t blocks,
                                     int64_t block, float* __restrict out) {
  for (int64_t b = 0; b < blocks; ++b, encoded += kHead + block, out += block) {
    decode_codes(load<float>(encoded), encoded + kHead, block, out);
  }
}

class Int8 final : public Codec {
 public:
  explicit Int8(int64_t block) : Codec("int8", block, kHead + block) {}

 private:
  int64_t bytes_of_block(int64_t values) const override { return kHead + values; }
  void encode_blocks(const float* values, int64_t count, std::byte* encoded) const override {
    encode_int8(values, count, block_values(), encoded);
  }
  void decode_blocks(const std::byte* encoded, int64_t blocks, float* out) const override {
    decode_int8(encoded, blocks, block_values(), out);
  }
  void decode_part(std::span<const std::byte> block, int64_t at,
                   std::span<float> out) const override {
    const int64_t codes = std::ssize(block) - kHead - at;  // from `at` on
    const int64_t there = std::clamp<int64_t>(codes, 0, std::ssize(out));
    if (there > 0)
      decode_codes(load<float>(block.data()), block.data() + kHead + at, there, out.data());
    fill_missing(out.subspan(there));
  }
  std::optional<Flaw> find_flaw(const std::byte* encoded, int64_t count) const override {
    for (int64_t begin = 0, b = 0; begin < count; begin += block_values(), ++b) {
      const int64_t size = std::min(block_values(), count - begin);
      const auto scale = load<float>(encoded);
      if (std::string words = flaw_of_scale(scale, kMost); !words.empty()) return Flaw{b, words};
      bool bad = false;  // without a way out of the loop, so that it is vector code
      for (int64_t i = 0; i < size; ++i) bad |= encoded[kHead + i] == std::byte{0x80};
      if (bad) return Flaw{b, "got code -128, want codes in [-127, 127]"};
      encoded += kHead + size;
    }
    return std::nullopt;
  }
};

}  // namespace

extern const CodecEntry kInt8Entry = {
    {"int8",
     "whole numbers in [-127, 127] times a scale for every block",
     "y = scale*round(x/scale); scale = max|x|/127 over the block",
     "arXiv:2110.02861, with linear codes",
     {block_option(256, "values that share a scale of 32 bits")}},
    [](const Options& options) -> StatusOr<std::unique_ptr<const Codec>> {
      return std::make_unique<Int8>(options.integer("block"));
    }};

}  // namespace rubato
