// A file that all ranks of an island need under one path. Ranks on rank 0's machine, or on a file
// system that they have in common, see it already; the others receive it.
#pragma once

#include <cstdint>
#include <string>

#include "rubato/island/island_link.h"
#include "rubato/store/file_system.h"

namespace rubato {

struct SharedFile {
  std::string path;
  int64_t bytes = 0;
  std::string digest;  // of the content, base/digest.h
  template <class A>
  void archive(A& a) {
    a(path, bytes, digest);
  }
};

/// Rank 0's side, behind an order: the file goes out to all when one of them does not have it. The
/// error of the lowest rank that has one.
Status give_file(IslandLink& link, FileSystem& files, const SharedFile& file);

/// The other ranks'. Whatever happens it keeps in step with rank 0, and answers it.
void take_file(IslandLink& link, FileSystem& files, const SharedFile& file);

}  // namespace rubato
