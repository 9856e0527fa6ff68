#include "rubato/rpc/chunk.h"

#include <atomic>

#include "rubato/base/digest.h"

namespace rubato {

Chunk make_chunk(int64_t offset, int64_t total, std::string_view data,
                 std::shared_ptr<const void> owner) {
  return {offset, total, checksum_of(data), data, std::move(owner)};
}

Status check_chunk(const Chunk& chunk, int64_t offset, int64_t total) {
  const int64_t bytes = chunk.bytes();
  if (chunk.offset != offset || chunk.total != total || bytes > total - offset || bytes == 0) {
    return absl::DataLossError(cat("[exchange] got ", bytes, " bytes at ", chunk.offset, " of ",
                                   chunk.total, ", want the next ones at ", offset, " of ", total));
  }
  if (checksum_of(chunk.data) != chunk.checksum) {
    return absl::DataLossError(
        cat("[exchange] got a chunk at ", offset, " with a wrong checksum, want what was sent"));
  }
  return absl::OkStatus();
}

BufferPool::Buffer BufferPool::take(size_t bytes) {
  for (const Buffer& buffer : buffers_) {
    if (buffer.use_count() > 1) continue;
    // What its last holder read was read before it let go.
    std::atomic_thread_fence(std::memory_order_acquire);
    buffer->resize(bytes);
    return buffer;
  }
  return buffers_.emplace_back(std::make_shared<std::vector<std::byte>>(bytes));
}

}  // namespace rubato
