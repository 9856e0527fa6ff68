// A piece of a bulk transfer: the protocol's Chunk with its data pointed at instead of copied. What
// is sent lies in a mapped file or in a buffer that somebody else owns; what came lies where the
// network put it.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

/// Bytes of a chunk's data, about: whole blocks of the codec.
inline constexpr int64_t kChunkBytes = int64_t{1} << 20;

struct Chunk {
  int64_t offset = 0;     // [bytes] of the whole
  int64_t total = 0;      // [bytes] of the whole
  uint64_t checksum = 0;  // XXH3-64 of data
  std::string_view data;
  /// Keeps `data` for whoever sends it after its maker went on. Null: to be copied, or read before
  /// the next chunk comes.
  std::shared_ptr<const void> owner;

  int64_t bytes() const { return static_cast<int64_t>(data.size()); }
};

/// With the checksum of its data.
Chunk make_chunk(int64_t offset, int64_t total, std::string_view data,
                 std::shared_ptr<const void> owner);

/// DataLoss `[exchange] ..` when the chunk does not continue at `offset` of `total` bytes, or was
/// damaged on its way.
Status check_chunk(const Chunk& chunk, int64_t offset, int64_t total);

/// Buffers for encodings that are sent, each used again once nobody holds it. One thread takes; any
/// may let go.
class BufferPool {
 public:
  using Buffer = std::shared_ptr<std::vector<std::byte>>;
  /// Of `bytes` bytes, whatever they are.
  Buffer take(size_t bytes);

 private:
  std::vector<Buffer> buffers_;
};

}  // namespace rubato
