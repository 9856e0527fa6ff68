// The one seam for files: everything that touches a disk goes through a FileSystem, so that tests
// can run the same code over memory, with full disks, failing syncs and crashes
// (memory_file_system.h). The real one is in posix_file_system.h.
//
// What survives a crash: bytes of a file after its sync(); names in a directory (new, renamed,
// removed) after sync_directory() of that directory. Nothing else is promised, in no order.
// Errors: `[file] PATH: got <the system's words>, want <what was tried>`, one line.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

/// A file being written. Not buffered: an append is with the system when it returns. Destroyed
/// without close(), the file keeps what was written and an error of closing is lost.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  /// ResourceExhausted when the disk is full; a part of `bytes` may be in the file then.
  virtual Status append(std::string_view bytes) = 0;
  /// After OK the bytes survive a crash. After an error nothing is known: do not use the file.
  virtual Status sync() = 0;
  /// Keeps the first `size` bytes of the file, which has as many; appends go behind them. Not
  /// synced: after a crash the file may be as long as it was.
  virtual Status truncate(int64_t size) = 0;
  /// Idempotent; does not sync.
  virtual Status close() = 0;
};

/// Read-only bytes of a whole file as it was when mapped; valid as long as a copy of the view
/// lives. Nobody may shorten the file meanwhile.
struct FileView {
  std::string_view bytes;
  std::shared_ptr<const void> owner;
};

/// A directory that nobody else can lock as long as a copy of this lives; the system gives it up
/// when the process ends, however that happens.
using DirectoryLock = std::shared_ptr<const void>;

struct DirectoryEntry {
  std::string name;  // last part of the path
  bool is_directory = false;
};

/// Who, beside the system's administrator, may read or write a file.
enum class FileAccess { kOwner, kGroup, kEveryone };

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  /// A new empty file; an existing one is emptied.
  virtual StatusOr<std::unique_ptr<WritableFile>> create(const std::string& path) = 0;
  /// A new empty file that is its owner's alone from its first moment: mode 0600. AlreadyExists
  /// when something is there, so that nobody can have it open already.
  virtual StatusOr<std::unique_ptr<WritableFile>> create_private(const std::string& path) = 0;
  /// Writes go behind what is there; a file that is missing is made.
  virtual StatusOr<std::unique_ptr<WritableFile>> open_append(const std::string& path) = 0;

  /// Bytes [offset, offset + size), fewer where the file ends. NotFound when it is missing.
  virtual StatusOr<std::string> read_range(const std::string& path, int64_t offset,
                                           int64_t size) = 0;
  virtual StatusOr<FileView> map(const std::string& path) = 0;
  /// [bytes] NotFound when it is missing.
  virtual StatusOr<int64_t> file_size(const std::string& path) = 0;
  /// The widest circle that the file's mode lets in. NotFound when it is missing.
  virtual StatusOr<FileAccess> file_access(const std::string& path) = 0;
  /// A file or directory is there.
  virtual bool exists(const std::string& path) = 0;
  /// Sorted by name. NotFound when the directory is missing.
  virtual StatusOr<std::vector<DirectoryEntry>> list(const std::string& path) = 0;

  /// With its parents; OK when it is there already. What it made survives a crash.
  virtual Status make_directories(const std::string& path) = 0;
  /// At once, for whoever looks; a file at `to` is replaced, a directory at `to` must be empty.
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  /// OK when it is not there.
  virtual Status remove_file(const std::string& path) = 0;
  /// A directory with all that is in it, or a file. OK when it is not there.
  virtual Status remove_tree(const std::string& path) = 0;
  virtual Status sync_directory(const std::string& path) = 0;
  /// FailedPrecondition when it is locked already, in this process or another. A convention among
  /// those who call it: nothing else is refused.
  virtual StatusOr<DirectoryLock> lock_directory(const std::string& path) = 0;
  /// [bytes] that can still be written where `path` is; of its nearest parent that exists.
  virtual StatusOr<int64_t> available_bytes(const std::string& path) = 0;

  StatusOr<std::string> read_file(const std::string& path);
  /// The file holds `bytes` after a crash at any moment, or what it held before; never a mixture.
  /// Writes PATH.tmp beside it, syncs, renames, syncs the directory.
  Status replace_file(const std::string& path, std::string_view bytes);
  /// The same for secrets: the file is its owner's alone, and so is what its bytes pass through.
  Status replace_private_file(const std::string& path, std::string_view bytes);

 private:
  using Create = StatusOr<std::unique_ptr<WritableFile>> (FileSystem::*)(const std::string&);
  Status replace_through(const std::string& path, std::string_view bytes, Create create_temporary);
};

/// `directory/name` with one slash between.
std::string join_path(std::string_view directory, std::string_view name);
/// The path without its last part; "." or "/" where nothing else is left.
std::string parent_path(std::string_view path);
/// The last part of a path.
std::string base_name(std::string_view path);

/// What lock_directory says about a directory that somebody else has locked.
Status locked_error(std::string_view path);

/// The error of a system call; `want` says what was tried: "a file to read". A full disk is
/// ResourceExhausted and says so.
Status file_error(std::string_view path, int error_number, std::string_view want);

}  // namespace rubato
