// int4: whole numbers in [-7, 7] times the scale of their block, two to a byte.
//   scale = max |x| / 7 over the block, rounded towards 0;  code = round(x * 7 / max |x|)
//   y = scale * code;  |y - x| <= 0.5001 * scale, |y| <= max |x|
// Rounding is to nearest, ties to even. A block whose largest value is below 2^-100 becomes zeros.
// A byte holds a code of the first half of its block and one of the second, so that both halves are
// read and written in order.
// Source: blockwise absmax, arXiv:2110.02861; four bits suffice for pseudo-gradients in
// arXiv:2501.18512, there as floats. 4 + 32/block bits a value.
// Invariant: a block's largest value comes back within 2^-22 of itself (Blockwise.* in
// codecs_test).
#include "rubato/base/multiversion.h"
#include "rubato/codec/pieces.h"

namespace rubato {
namespace {

constexpr float kMost = 7;
constexpr int kZero = 8;                  // added to a code: what four bits hold is in [1, 15]
constexpr int64_t kHead = sizeof(float);  // [bytes] in front of the codes

constexpr int64_t half_of(int64_t values) { return (values + 1) / 2; }

RUBATO_MULTIVERSION void encode_int4(const float* __restrict values, int64_t count, int64_t block,
                                     std::byte* __restrict encoded) {
  for (int64_t begin = 0; begin < count; begin += block) {
    const int64_t size = std::min(block, count - begin), half = half_of(size);
    const float *x = values + begin, *y = x + half;
    const BlockScale s = block_scale(x, size, kMost);
    store(encoded, s.scale);
    std::byte* codes = encoded + kHead;
    if (s.inverse == 0) {
      std::memset(codes, kZero * 0x11, static_cast<size_t>(half));
    } else {
      for (int64_t i = 0; i < size - half; ++i) {
        const uint32_t low = code_bits(x[i], s.inverse, kZero) & 15u;
        codes[i] = static_cast<std::byte>(low | code_bits(y[i], s.inverse, kZero) << 4);
      }
    }
    if (size < 2 * half) {  // an odd one: its partner is 0, which is no code
      const uint32_t last = s.inverse == 0 ? kZero : code_bits(x[half - 1], s.inverse, kZero) & 15u;
      codes[half - 1] = static_cast<std::byte>(last);
    }
    encoded = codes + half;
  }
}

RUBATO_INLINE void decode_low(float scale, const std::byte* __restrict codes, int64_t count,
                              float* __restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = scale * static_cast<float>((static_cast<int>(codes[i]) & 15) - kZero);
  }
}

RUBATO_INLINE void decode_high(float scale, const std::byte* __restrict codes, int64_t count,
                               float* __restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = scale * static_cast<float>((static_cast<int>(codes[i]) >> 4) - kZero);
  }
}

RUBATO_MULTIVERSION void decode_int4(const std::byte* __restrict encoded, int64_t blocks,
                                     int64_t block, float* __restrict out) {
  const int64_t half = block / 2;
  for (int64_t b = 0; b < blocks; ++b, encoded += kHead + half, out += block) {
    const auto scale = load<float>(encoded);
    decode_low(scale, encoded + kHead, half, out);
    decode_high(scale, encoded + kHead, half, out + half);
  }
}

class Int4 final : public Codec {
 public:
  explicit Int4(int64_t block) : Codec("int4", block, kHead + half_of(block)) {}

 private:
  int64_t bytes_of_block(int64_t values) const override { return kHead + half_of(values); }
  void encode_blocks(const float* values, int64_t count, std::byte* encoded) const override {
    encode_int4(values, count, block_values(), encoded);
  }
  void decode_blocks(const std::byte* encoded, int64_t blocks, float* out) const override {
    decode_int4(encoded, blocks, block_values(), out);
  }
  void decode_part(std::span<const std::byte> block, int64_t at,
                   std::span<float> out) const override {
    // The size of a short block follows from its bytes, but for a partner that may be missing.
    const int64_t half = std::ssize(block) - kHead;
    if (half <= 0) return fill_missing(out);
    const auto scale = load<float>(block.data());
    const std::byte* codes = block.data() + kHead;
    const int64_t low = std::clamp<int64_t>(half - at, 0, std::ssize(out));
    if (low > 0) decode_low(scale, codes + at, low, out.data());
    out = out.subspan(low);
    at += low - half;  // in the second half, unless nothing is left
    const int64_t high = std::clamp<int64_t>(half - at, 0, std::ssize(out));
    if (high > 0) decode_high(scale, codes + at, high, out.data());
    fill_missing(out.subspan(high));
  }
  std::optional<Flaw> find_flaw(const std::byte* encoded, int64_t count) const override {
    for (int64_t begin = 0, b = 0; begin < count; begin += block_values(), ++b) {
      const int64_t size = std::min(block_values(), count - begin), half = half_of(size);
      if (std::string words = flaw_of_scale(load<float>(encoded), kMost); !words.empty()) {
        return Flaw{b, words};
      }
      const std::byte* codes = encoded + kHead;
      bool bad = false;  // without a way out of the loop, so that it is vector code
      for (int64_t i = 0; i < size - half; ++i) {
        bad |= (codes[i] & std::byte{0x0F}) == std::byte{0} || codes[i] < std::byte{0x10};
      }
      if (size < 2 * half) {
        bad |= codes[half - 1] == std::byte{0} || codes[half - 1] > std::byte{0x0F};
      }
      if (bad)
        return Flaw{b, "got a code of 0, want 1 to 15, and 0 beside the last of an odd number"};
      encoded += kHead + half;
    }
    return std::nullopt;
  }
};

StatusOr<std::unique_ptr<const Codec>> make_int4(const Options& options) {
  const int64_t block = options.integer("block");
  if (block % 2 != 0) {
    return absl::InvalidArgumentError(cat("[int4] block: got ", block, ", want an even number"));
  }
  return std::make_unique<Int4>(block);
}

}  // namespace

extern const CodecEntry kInt4Entry = {
    {"int4",
     "whole numbers in [-7, 7] times a scale for every block",
     "y = scale*round(x/scale); scale = max|x|/7 over the block",
     "arXiv:2110.02861, with linear codes; arXiv:2501.18512",
     {block_option(64, "values that share a scale of 32 bits; even")}},
    make_int4};

}  // namespace rubato
