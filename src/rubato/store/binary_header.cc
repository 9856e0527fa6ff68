#include "rubato/store/binary_header.h"

#include <cstring>

#include "rubato/base/digest.h"

namespace rubato {
namespace {

constexpr size_t kMagicBytes = 8;
constexpr size_t kFixedBytes = kMagicBytes + 2 * sizeof(uint32_t);  // in front of the body
constexpr size_t kAlignment = 64;

size_t header_bytes(size_t body_bytes) {
  const size_t used = kFixedBytes + body_bytes + sizeof(uint64_t);
  return (used + kAlignment - 1) / kAlignment * kAlignment;
}

template <class T>
T load(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

}  // namespace

Status damaged_file(const BinaryFormat& format, std::string_view path, std::string_view what) {
  return absl::DataLossError(cat("[", format.who, "] ", path, ": got a damaged file: ", what));
}

std::string encode_header(const BinaryFormat& format, std::string_view body) {
  RUBATO_CHECK(format.magic.size() == kMagicBytes, format.magic);
  const size_t bytes = header_bytes(body.size());
  RUBATO_CHECK(bytes <= static_cast<size_t>(kMaxHeaderBytes), body.size());
  ArchiveWriter writer;
  uint32_t version = format.version, size = static_cast<uint32_t>(body.size());
  writer.bytes = format.magic;
  writer(version, size);
  writer.bytes += body;
  writer.bytes.resize(bytes - sizeof(uint64_t), '\0');
  uint64_t checksum = checksum_of(writer.bytes);
  writer(checksum);
  return std::move(writer.bytes);
}

StatusOr<BinaryHeader> parse_header(const BinaryFormat& format, std::string_view path,
                                    std::string_view file_bytes) {
  if (file_bytes.size() < kFixedBytes || !file_bytes.starts_with(format.magic))
    return damaged_file(format, path, cat("want it to begin with ", format.magic));
  if (const auto version = load<uint32_t>(file_bytes, kMagicBytes); version != format.version)
    return absl::FailedPreconditionError(
        cat("[", format.who, "] ", path, ": got format ", version, ", want ", format.version));
  const size_t size = load<uint32_t>(file_bytes, kMagicBytes + sizeof(uint32_t));
  const size_t bytes = header_bytes(size);
  if (bytes > static_cast<size_t>(kMaxHeaderBytes) || bytes > file_bytes.size())
    return damaged_file(format, path, cat("its header of ", bytes, " bytes is not all there"));
  BinaryHeader header{file_bytes.substr(kFixedBytes, size), static_cast<int64_t>(bytes),
                      load<uint64_t>(file_bytes, bytes - sizeof(uint64_t))};
  // There is one way to write a header, so checksum and zeros need no check of their own.
  if (encode_header(format, header.body) != file_bytes.substr(0, bytes))
    return damaged_file(format, path, "its header is not as it was written");
  return header;
}

}  // namespace rubato
