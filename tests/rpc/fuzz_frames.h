// What the fuzzers of conversations share: an input is frames, each a kind and a message's bytes;
// and messages that no mutation would get right (digests, names) are put right where a frame asks
// for it.
#pragma once

#include <string>
#include <string_view>

#include "tests/fuzz/fuzzing.h"

#include "rubato/rpc/chunk.h"
#include "rubato/v1/exchange.pb.h"

namespace rubato {

/// Cuts an input into frames: one byte of kind, two of length (little-endian), the bytes.
class Frames {
 public:
  explicit Frames(std::string_view rest) : rest_(rest) {}
  /// False at the end; the last frame may be shorter than it says.
  bool next() {
    if (rest_.size() < 3) return false;
    kind_ = static_cast<uint8_t>(rest_[0]);
    const size_t length =
        static_cast<uint8_t>(rest_[1]) | static_cast<size_t>(static_cast<uint8_t>(rest_[2])) << 8;
    bytes_ = rest_.substr(3, length);
    rest_.remove_prefix(3 + bytes_.size());
    return true;
  }
  uint8_t kind() const { return kind_; }
  std::string_view bytes() const { return bytes_; }
  /// The frame's message; false when the bytes are none.
  template <class Message>
  bool parse(Message& message) const {
    return message.ParseFromArray(bytes_.data(), static_cast<int>(bytes_.size()));
  }

 private:
  std::string_view rest_, bytes_;
  uint8_t kind_ = 0;
};

/// The message's data lies in the message.
inline Chunk chunk_from(const v1::Chunk& message) {
  return {.offset = message.offset(),
          .total = message.total(),
          .checksum = message.checksum(),
          .data = message.data(),
          .owner = nullptr};
}

/// A refusal is one line that says who speaks.
inline void check_refusal(const Status& status) { check_error(status, "["); }

}  // namespace rubato
