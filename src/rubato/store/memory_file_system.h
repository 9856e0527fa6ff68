// Files in memory with the promises of a disk and none beyond them: what was not synced is lost, or
// half there, after a crash. Tests drive it into full disks, failing syncs and a power cut after
// any byte. One thread at a time.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rubato/store/file_system.h"

namespace rubato {

/// What a crash leaves of what was not synced.
enum class CrashKeeps {
  kNothing,       // unsynced names and bytes are gone
  kNames,         // directories as they were last seen, unsynced bytes gone
  kNamesAndHalf,  // directories as last seen, half of each file's unsynced bytes: a torn write
  kNamesAndHole,  // directories and sizes as last seen, zeros for the first half of unsynced bytes
  kEverything,
};

class MemoryFileSystem final : public FileSystem {
 public:
  MemoryFileSystem();
  ~MemoryFileSystem() override;

  StatusOr<std::unique_ptr<WritableFile>> create(const std::string& path) override;
  StatusOr<std::unique_ptr<WritableFile>> create_private(const std::string& path) override;
  StatusOr<std::unique_ptr<WritableFile>> open_append(const std::string& path) override;
  StatusOr<std::string> read_range(const std::string& path, int64_t offset, int64_t size) override;
  StatusOr<FileView> map(const std::string& path) override;
  StatusOr<int64_t> file_size(const std::string& path) override;
  StatusOr<FileAccess> file_access(const std::string& path) override;
  bool exists(const std::string& path) override;
  StatusOr<std::vector<DirectoryEntry>> list(const std::string& path) override;
  Status make_directories(const std::string& path) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove_file(const std::string& path) override;
  Status remove_tree(const std::string& path) override;
  Status sync_directory(const std::string& path) override;
  StatusOr<DirectoryLock> lock_directory(const std::string& path) override;
  StatusOr<int64_t> available_bytes(const std::string& path) override;

  /// What available_bytes() answers; writing does not change it.
  void set_available_bytes(int64_t bytes) { available_ = bytes; }
  /// The disk is full after `bytes` more bytes, whatever available_bytes() says.
  void fill_after(int64_t bytes) { room_ = bytes; }
  /// The next syncs of files, `count` of them, fail with an input/output error.
  void fail_syncs(int64_t count) { failing_syncs_ = count; }
  /// The next rename onto `path` fails with an input/output error.
  void fail_rename_to(std::string path) { failing_rename_ = std::move(path); }
  /// The power goes after `work` more units: a byte written is one, and so is every call that
  /// changes or syncs something. From then on every call fails, until restart().
  void cut_power_after(int64_t work) { power_ = work; }
  bool power_is_cut() const { return cut_; }
  /// What the machine finds when it comes up again. Files still open for writing must not be used.
  void restart(CrashKeeps keeps);
  /// Units of work done so far; see cut_power_after.
  int64_t work_done() const { return work_done_; }
  /// Lets others read a file, as chmod does; the file is there.
  void set_file_access(const std::string& path, FileAccess access);
  /// Flips the bits of `mask` in one byte, as decay would; the file is there and long enough.
  void corrupt(const std::string& path, int64_t offset, char mask);

 private:
  struct Node;
  class File;
  using NodePtr = std::shared_ptr<Node>;

  NodePtr find(const std::string& path);
  /// The directory that holds `path`, and the last part of it.
  StatusOr<NodePtr> parent_of(const std::string& path, std::string_view want);
  StatusOr<NodePtr> find_file(const std::string& path, std::string_view want);
  StatusOr<std::unique_ptr<WritableFile>> open_writable(const std::string& path, bool empty);
  /// Takes up to `units` from the power budget; fewer are granted when it ends within them.
  int64_t spend(int64_t units);
  /// One unit; an error when the power is cut.
  Status act(const std::string& path);
  static void crash(Node& node, CrashKeeps keeps);

  NodePtr root_;
  int64_t available_ = std::numeric_limits<int64_t>::max();
  int64_t room_ = std::numeric_limits<int64_t>::max();
  int64_t power_ = std::numeric_limits<int64_t>::max();
  int64_t failing_syncs_ = 0;
  std::string failing_rename_;
  int64_t work_done_ = 0;
  bool cut_ = false;
};

}  // namespace rubato
