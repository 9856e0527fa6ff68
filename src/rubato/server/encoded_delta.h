// A pseudo-gradient as it came over the wire: the chain decodes the block that it is about to
// apply, into the first-level cache, so that decoding costs no pass over memory and no buffer.
#pragma once

#include "rubato/codec/codec.h"
#include "rubato/outer/delta_source.h"

namespace rubato {

class EncodedDelta final : public DeltaSource {
 public:
  /// `encoded` is what codec.check() took for `num_params` values; codec and bytes are the
  /// caller's.
  EncodedDelta(const Codec& codec, std::span<const std::byte> encoded, int64_t num_params)
      : codec_(&codec), encoded_(encoded), num_params_(num_params) {
    RUBATO_CHECK(std::ssize(encoded) == codec.encoded_bytes(num_params));
  }
  int64_t size() const override { return num_params_; }
  const float* block(int64_t offset, int64_t size, float* scratch) const override {
    codec_->decode(encoded_, offset, {scratch, static_cast<size_t>(size)});
    return scratch;
  }

 private:
  const Codec* codec_;
  std::span<const std::byte> encoded_;
  int64_t num_params_;  // P
};

}  // namespace rubato
