// Writes one file of tokens as they come, and keeps the books that the manifest needs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "rubato/base/digest.h"
#include "rubato/base/status.h"
#include "rubato/store/file_system.h"
#include "rubato/text/manifest.h"

namespace rubato {

class ShardWriter {
 public:
  /// Creates `directory`/`file`. token_bytes is 2 or 4.
  static StatusOr<ShardWriter> create(FileSystem& files, const std::string& directory,
                                      std::string name, std::string file, int64_t token_bytes);
  /// One document: its tokens (BOS included) and the bytes of its text.
  Status add(std::span<const int32_t> tokens, int64_t text_bytes);
  /// Everything is on the disk when this returns OK; the entry is complete then.
  StatusOr<ShardEntry> finish();

  const ShardEntry& entry() const { return entry_; }

 private:
  Status flush();

  ShardEntry entry_;
  std::unique_ptr<WritableFile> file_;
  std::unique_ptr<Digester> digester_;
  int64_t token_bytes_ = 2;
  std::string buffer_;
};

}  // namespace rubato
