// How a pseudo-gradient travels to the coordinator, and parameters to a worker: P floats as a
// sequence of blocks of fixed size, of which only the last may be shorter. Every block decodes
// alone, so a stream can be cut between any two blocks: what lies between two cuts is an encoding
// itself, and can be checked, decoded and measured while the rest is still on its way.
// An encoding does not say which codec made it, with which options, nor of how many values: both
// ends know. docs/formats.md has the bytes. Memory: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "rubato/base/parallel.h"
#include "rubato/base/registry.h"

namespace rubato {

/// Immutable: any thread, several at once. The same values give the same bytes and the same bytes
/// the same floats, on every processor, whether or not the thread flushes denormals.
class Codec {
 public:
  virtual ~Codec() = default;
  Codec(const Codec&) = delete;
  Codec& operator=(const Codec&) = delete;

  const std::string& name() const { return name_; }
  int64_t block_values() const { return block_values_; }  // [floats] in a whole block; >= 1
  int64_t block_bytes() const { return block_bytes_; }    // [bytes] of a whole block
  /// [bytes] of the encoding of `count` >= 0 values.
  int64_t encoded_bytes(int64_t count) const;
  /// Decodes to the bits that were encoded.
  virtual bool lossless() const { return false; }
  /// The encoding is the floats' bytes as they lie in memory.
  virtual bool is_verbatim() const { return false; }

  /// Writes the encoding of `values`; `encoded` has encoded_bytes(values.size()). Allocates
  /// nothing. A block that holds a value that is not finite decodes to at least one such value.
  void encode(std::span<const float> values, std::span<std::byte> encoded) const;
  /// The values [first, first + out.size()) of an encoding, first >= 0. Allocates nothing. Total:
  /// bytes that check() refuses decode to any floats, those beyond the end of the bytes to NaN, and
  /// nothing outside the two spans is touched.
  void decode(std::span<const std::byte> encoded, int64_t first, std::span<float> out) const;
  /// InvalidArgument `[codec] ..` for bytes that no encoder makes of `count` values. Values that
  /// are not finite pass: whoever measures the decoded floats sees them.
  Status check(std::span<const std::byte> encoded, int64_t count) const;

 protected:
  Codec(std::string name, int64_t block_values, int64_t block_bytes);
  /// Why a block cannot be an encoder's: `got .., want ..`.
  struct Flaw {
    int64_t block;
    std::string words;
  };

 private:
  /// [bytes] of a block of `values` in [1, block_values()].
  virtual int64_t bytes_of_block(int64_t values) const = 0;
  /// `count` values, the last block perhaps short.
  virtual void encode_blocks(const float* values, int64_t count, std::byte* encoded) const = 0;
  /// Whole blocks that are wholly there.
  virtual void decode_blocks(const std::byte* encoded, int64_t blocks, float* out) const = 0;
  /// Values [at, at + out.size()) of one block, whole or short, of which `block` is all there is.
  virtual void decode_part(std::span<const std::byte> block, int64_t at,
                           std::span<float> out) const = 0;
  /// The first flaw of an encoding of the right size.
  virtual std::optional<Flaw> find_flaw(const std::byte* /*encoded*/, int64_t /*count*/) const {
    return std::nullopt;
  }

  std::string name_;
  int64_t block_values_, block_bytes_;
};

using CodecEntry = Entry<StatusOr<std::unique_ptr<const Codec>>(const Options&)>;

/// Every codec there is: the list in codecs.cc.
std::span<const CodecEntry* const> codec_entries();

/// The codec of that name with `given` over its defaults. NotFound for an unknown name,
/// InvalidArgument for an option that is unknown or out of range.
StatusOr<std::unique_ptr<const Codec>> make_codec(
    std::string_view name, const std::map<std::string, OptionValue>& given = {});

/// Makes of `values` what the other end decodes. Parallel over blocks when `pool` is given; the
/// bits do not depend on it.
void round_trip(const Codec& codec, std::span<float> values, ThreadPool* pool);

}  // namespace rubato
