// Files of the machine, through POSIX calls. Stateless; any thread may use it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rubato/store/file_system.h"

namespace rubato {

class PosixFileSystem : public FileSystem {
 public:
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
};

}  // namespace rubato
