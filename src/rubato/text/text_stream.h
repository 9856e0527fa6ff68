// A window that slides over a file's text: bytes that are known to be UTF-8, as many as asked for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "rubato/base/status.h"
#include "rubato/text/byte_source.h"

namespace rubato {

class TextStream {
 public:
  /// `path` is for messages.
  TextStream(std::string path, std::unique_ptr<ByteSource> source)
      : path_(std::move(path)), source_(std::move(source)) {}

  /// Makes the window at least `want` bytes long, or all that is left. InvalidArgument names the
  /// byte that is not UTF-8 (of the decompressed text).
  Status fill(size_t want);
  /// Valid UTF-8 from the first byte not consumed; may end within a character unless at_end().
  std::string_view window() const { return std::string_view(buffer_).substr(begin_); }
  void consume(size_t bytes);
  /// All of the file is in the window or consumed.
  bool at_end() const { return at_end_; }
  const std::string& path() const { return path_; }
  int64_t disk_bytes_read() const { return source_->disk_bytes_read(); }

 private:
  Status validate();

  std::string path_;
  std::unique_ptr<ByteSource> source_;
  std::string buffer_;
  size_t begin_ = 0;     // of the window in the buffer
  size_t valid_ = 0;     // bytes of the buffer known to be UTF-8
  int64_t dropped_ = 0;  // bytes of text in front of the buffer
  bool at_end_ = false;
};

}  // namespace rubato
