// The bytes of a file from its beginning, decompressed when its name ends in .gz or .zst. Files of
// several members or frames, as concatenation makes them, are read to the end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "rubato/base/status.h"

namespace rubato {

class FileSystem;

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Appends up to about a MiB to `out`; false at the end. DataLoss names a file whose compression
  /// is broken or cut off.
  virtual StatusOr<bool> read(std::string& out) = 0;
  /// [bytes] of the file on disk that were read so far.
  virtual int64_t disk_bytes_read() const = 0;
};

/// `files` outlives the source. NotFound when there is no such file.
StatusOr<std::unique_ptr<ByteSource>> open_byte_source(FileSystem& files, const std::string& path);

}  // namespace rubato
