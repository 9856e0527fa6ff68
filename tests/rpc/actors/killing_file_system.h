// The files of a coordinator that dies, or whose disk is full, in the middle of one of the steps
// that must survive it. Everything else goes through to the machine's files.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tests/rpc/actors/trap.h"

#include "rubato/store/posix_file_system.h"

namespace rubato {

/// While a file of this name is in the run directory, appending to spool or journal writes half of
/// the bytes and finds the disk full; each time leaves a line in DIR/full.
inline constexpr char kFullSpoolMark[] = "spool-is-full", kFullJournalMark[] = "journal-is-full";

class KillingFileSystem final : public FileSystem {
 public:
  /// `trap` outlives it.
  KillingFileSystem(Trap& trap, std::string run_dir);

  /// From now on a version that is mapped is one that is sent.
  void start_serving() { serving_ = true; }

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

 private:
  class File;
  /// Dies the n-th time.
  void pass(std::string_view phase) {
    if (trap_.reached(phase)) trap_.spring();
  }
  bool is_in(const std::string& path, std::string_view room) const;
  bool is_full(const std::string& path);
  StatusOr<std::unique_ptr<WritableFile>> watched(const std::string& path, bool is_new,
                                                  StatusOr<std::unique_ptr<WritableFile>> file);
  void guard_the_end(const FileView& view);

  Trap& trap_;
  const std::string run_dir_;
  PosixFileSystem disk_;
  std::atomic<bool> serving_{false};
};

}  // namespace rubato
