// Documents out of files and directories, one after another, in an order that depends on names and
// contents alone. Files may be larger than memory.
//
//   plain UTF-8 text       one file is one document; a longer one than document_bytes_max is cut at
//                          the last blank line that fits (else line, else space, else character)
//   .jsonl                 one line is one document: the "text" of its object
//   either with .gz, .zst  decompressed on the way
//
// Nothing is normalised. Documents of nothing but whitespace are passed over and counted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

class FileSystem;

struct Document {
  std::string text;
  int64_t source = 0;  // index of the input it came from
};

struct ReaderOptions {
  /// [bytes] above which plain text is cut. Small against a corpus, so that a split by document is
  /// a fine one, and large against a training sequence.
  int64_t document_bytes_max = 64 * 1024;
};

class DocumentReader {
 public:
  /// Each input is a file or a directory, which stands for all files in it and below, sorted by
  /// path, except those whose names begin with a dot. NotFound when one is missing,
  /// InvalidArgument when there are no files. `files` outlives the reader.
  static StatusOr<std::unique_ptr<DocumentReader>> open(FileSystem& files,
                                                        const std::vector<std::string>& inputs,
                                                        const ReaderOptions& options = {});
  ~DocumentReader();

  /// Overwrites `out`; false behind the last document. InvalidArgument names file and byte (or
  /// line) that is not UTF-8 (or no JSON), and an input without text; DataLoss a broken archive.
  StatusOr<bool> next(Document& out);
  /// Begins again at the first document.
  void rewind();

  /// [bytes] on disk: read since the beginning, and of all files.
  int64_t disk_bytes_read() const;
  int64_t disk_bytes_total() const;
  /// Documents passed over because they hold nothing but whitespace, since the beginning.
  int64_t blank_documents() const;

 private:
  struct State;
  explicit DocumentReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace rubato
