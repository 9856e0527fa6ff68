// The files of a run in another file system: what the next process finds, while the one that wrote
// them still has them open.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "rubato/store/file_system.h"

namespace rubato {

/// All that is below `path`, on disk.
inline void copy_tree(FileSystem& from, const std::string& path, FileSystem& to) {
  ASSERT_TRUE(to.make_directories(path).ok());
  const auto entries = from.list(path);
  ASSERT_TRUE(entries.ok()) << entries.status();
  for (const DirectoryEntry& entry : *entries) {
    const std::string child = join_path(path, entry.name);
    if (entry.is_directory) {
      copy_tree(from, child, to);
    } else {
      ASSERT_TRUE(to.replace_file(child, *from.read_file(child)).ok());
    }
  }
  ASSERT_TRUE(to.sync_directory(path).ok());
}

}  // namespace rubato
