// Published versions of the parameters, one immutable file each: RUN/versions/v-N. Whoever starts
// from a version reads the same file, under the system's page cache, so the memory of a server does
// not grow with its workers. A published version is not synced, since recovery makes it again; one
// that recovery cannot make (a task's base that is older than the snapshot) is persisted.
//   file = header floats            P floats, little-endian; docs/formats.md
// Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "rubato/base/ids.h"
#include "rubato/store/binary_header.h"
#include "rubato/store/file_system.h"

namespace rubato {

inline constexpr BinaryFormat kVersionFormat{"RBTOVERS", "versions", 1};

struct PublishedVersion {
  Version version;
  std::string digest;             // of the values
  std::span<const float> values;  // [P], mapped; begins at a multiple of 64 bytes in the file
  FileView file;                  // keeps the values, also when the version is removed meanwhile
};

class VersionStore {
 public:
  /// Finds what is there. Files that a crash left half written are removed: their payload has not
  /// the digest of their header. FailedPrecondition when another process has it open, for an
  /// unknown format, or when a file is of another layout. `files` must outlive the store.
  static StatusOr<std::unique_ptr<VersionStore>> open(FileSystem& files, const std::string& run_dir,
                                                      const std::string& layout_digest);

  /// Whoever asks from now on gets these values [P]; copied. A version that is there with the same
  /// values is left alone, another is replaced at once. After an error the older file is as it was.
  Status publish(Version version, std::span<const float> values);
  /// NotFound when it is not kept (any more), and says which are.
  StatusOr<PublishedVersion> read(Version version) const;
  /// When OK, these versions survive a crash. NotFound as read().
  Status persist(const std::set<Version>& versions);
  /// Removes all others. A crash may bring them back.
  Status retain(const std::set<Version>& versions);

  /// Ascending.
  std::vector<Version> list() const;
  /// [bytes] in RUN/versions.
  int64_t bytes_used() const;

 private:
  struct Entry {
    std::string digest;
    int64_t bytes = 0;  // of the file
  };
  VersionStore(FileSystem& files, std::string run_dir, std::string layout_digest,
               DirectoryLock lock)
      : files_(&files),
        run_dir_(std::move(run_dir)),
        layout_digest_(std::move(layout_digest)),
        lock_(std::move(lock)) {}
  Status scan();
  Status not_kept(Version version) const;

  FileSystem* files_;
  std::string run_dir_, layout_digest_;
  DirectoryLock lock_;
  std::mutex writing_;        // of the files; taken before the other
  mutable std::mutex mutex_;  // of the entries
  std::map<Version, Entry> entries_;
};

}  // namespace rubato
