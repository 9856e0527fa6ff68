// A spooled delta: a header that says what the upload announced, and its bytes as they came. The
// same file grows as task-N.part and is renamed to task-N.delta when it is complete and on disk.
//   file = header payload          docs/formats.md
// What is here reads finished deltas, also from another process; spool.h writes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rubato/base/ids.h"
#include "rubato/store/binary_header.h"
#include "rubato/store/file_system.h"

namespace rubato {

/// What an upload announces before its bytes, and a spooled delta says of itself.
struct DeltaMeta {
  std::string codec;          // name
  std::string codec_options;  // text; the codec's business
  int64_t values = 0;         // [floats] encoded
  int64_t bytes = 0;          // [bytes] of the encoding
  std::string digest;         // of the encoding

  friend bool operator==(const DeltaMeta&, const DeltaMeta&) = default;
  template <class A>
  void archive(A& a) {
    a(codec, codec_options, values, bytes, digest);
  }
};

inline constexpr BinaryFormat kDeltaFormat{"RBTODLTA", "spool", 1};

/// InvalidArgument for what no upload can be: negative numbers, a digest that is none, texts of
/// more than 4096 bytes.
Status check_delta_meta(TaskId task, const DeltaMeta& meta);

/// The first bytes of a delta's file. `meta` has passed check_delta_meta.
std::string encode_delta_header(TaskId task, const DeltaMeta& meta);

struct DeltaHeader {
  TaskId task;
  DeltaMeta meta;
  int64_t bytes = 0;  // of the header
  int64_t file_bytes() const { return bytes + meta.bytes; }
};

/// The header of a delta's file, finished or not. Errors as parse_header.
StatusOr<DeltaHeader> parse_delta_header(std::string_view path, std::string_view file_bytes);

struct SpooledDelta {
  std::string path;
  DeltaHeader header;
  FileView file;             // keeps the payload, also when the file is removed meanwhile
  std::string_view payload;  // meta.bytes of encoding, mapped; begins at a multiple of 64 bytes

  /// DataLoss when the payload has not the digest that was announced. Reads all of it.
  Status verify() const;
};

/// The finished delta at `path`. NotFound, DataLoss when it is not as it was written (its payload
/// is not looked at), FailedPrecondition for an unknown format.
StatusOr<SpooledDelta> open_delta_file(FileSystem& files, const std::string& path, TaskId task);

/// The finished delta of a task, from the spool or from those that were kept. Errors as
/// open_delta_file.
StatusOr<SpooledDelta> open_delta(FileSystem& files, const std::string& run_dir, TaskId task);

/// The same, whose payload has the digest that was announced: what lay on a disk for a while may
/// have decayed. DataLoss otherwise. Reads all of it.
StatusOr<SpooledDelta> open_sound_delta(FileSystem& files, const std::string& run_dir, TaskId task);

}  // namespace rubato
