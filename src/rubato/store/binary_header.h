// The first bytes of the binary files of a cluster's run (journal segments, spooled deltas,
// published versions): which format, which version of it, and a few facts about what follows.
//   header = magic version size body zeros checksum     a multiple of 64 bytes, so that floats
//                                                       behind it are aligned in a mapped file
// The body is an archive (base/archive.h); grammar in docs/formats.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rubato/base/archive.h"
#include "rubato/base/status.h"

namespace rubato {

struct BinaryFormat {
  std::string_view magic;  // 8 bytes
  std::string_view who;    // who speaks in messages: "journal"
  uint32_t version = 1;
};

/// [bytes] No header is longer: as many from the start of a file are enough to read it.
inline constexpr int64_t kMaxHeaderBytes = 64 * 1024;

struct BinaryHeader {
  std::string_view body;
  int64_t bytes = 0;      // of the whole header; what it is of begins there
  uint64_t checksum = 0;  // of all before it
};

/// Aborts when the header would be longer than kMaxHeaderBytes.
std::string encode_header(const BinaryFormat& format, std::string_view body);

/// The header that `file_bytes` begin with. FailedPrecondition `[WHO] PATH: got format 3, want 1`
/// for an unknown version, DataLoss when it is truncated, damaged or of something else.
StatusOr<BinaryHeader> parse_header(const BinaryFormat& format, std::string_view path,
                                    std::string_view file_bytes);

/// `[WHO] PATH: got a damaged file: WHAT` as DataLoss.
Status damaged_file(const BinaryFormat& format, std::string_view path, std::string_view what);

/// A header and its body as a T with an `archive` member. Errors as parse_header.
template <class T>
StatusOr<BinaryHeader> parse_header_as(const BinaryFormat& format, std::string_view path,
                                       std::string_view file_bytes, T& body) {
  RUBATO_ASSIGN_OR_RETURN(BinaryHeader header, parse_header(format, path, file_bytes));
  if (const Status status = from_archive(header.body, body); !status.ok())
    return damaged_file(format, path, cat(status.message()));
  return header;
}

}  // namespace rubato
