// fp32: the values as they are.
// Source: IEEE 754 binary32. A block is one value of 4 bytes; 32 bits a value.
// Invariant: every bit pattern survives (Fp32.* in codecs_test).
#include <cstring>

#include "rubato/codec/pieces.h"

namespace rubato {
namespace {

class Fp32 final : public Codec {
 public:
  Fp32() : Codec("fp32", 1, sizeof(float)) {}
  bool lossless() const override { return true; }
  bool is_verbatim() const override { return true; }

 private:
  int64_t bytes_of_block(int64_t) const override { return block_bytes(); }
  void encode_blocks(const float* values, int64_t count, std::byte* encoded) const override {
    if (count > 0) std::memcpy(encoded, values, static_cast<size_t>(count) * sizeof(float));
  }
  void decode_blocks(const std::byte* encoded, int64_t blocks, float* out) const override {
    std::memcpy(out, encoded, static_cast<size_t>(blocks) * sizeof(float));
  }
  void decode_part(std::span<const std::byte>, int64_t, std::span<float> out) const override {
    fill_missing(out);  // a value that is there is a whole block
  }
};

}  // namespace

extern const CodecEntry kFp32Entry = {
    {"fp32", "the values as they are", "y = x", "IEEE 754 binary32", {}},
    [](const Options&) -> StatusOr<std::unique_ptr<const Codec>> {
      return std::make_unique<Fp32>();
    }};

}  // namespace rubato
