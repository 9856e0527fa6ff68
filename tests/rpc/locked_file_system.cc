#include "tests/rpc/locked_file_system.h"

#include <utility>

namespace rubato {
namespace {

class LockedFile final : public WritableFile {
 public:
  LockedFile(std::mutex& mutex, std::unique_ptr<WritableFile> file)
      : mutex_(mutex), file_(std::move(file)) {}
  ~LockedFile() override {
    const std::lock_guard lock(mutex_);
    file_.reset();
  }
  Status append(std::string_view bytes) override {
    const std::lock_guard lock(mutex_);
    return file_->append(bytes);
  }
  Status sync() override {
    const std::lock_guard lock(mutex_);
    return file_->sync();
  }
  Status truncate(int64_t size) override {
    const std::lock_guard lock(mutex_);
    return file_->truncate(size);
  }
  Status close() override {
    const std::lock_guard lock(mutex_);
    return file_->close();
  }

 private:
  std::mutex& mutex_;
  std::unique_ptr<WritableFile> file_;
};

StatusOr<std::unique_ptr<WritableFile>> locked(std::mutex& mutex,
                                               StatusOr<std::unique_ptr<WritableFile>> file) {
  if (!file.ok()) return file;
  return std::make_unique<LockedFile>(mutex, std::move(*file));
}

}  // namespace

StatusOr<std::unique_ptr<WritableFile>> LockedFileSystem::create(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return locked(mutex_, files_.create(path));
}
StatusOr<std::unique_ptr<WritableFile>> LockedFileSystem::create_private(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return locked(mutex_, files_.create_private(path));
}
StatusOr<std::unique_ptr<WritableFile>> LockedFileSystem::open_append(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return locked(mutex_, files_.open_append(path));
}
StatusOr<std::string> LockedFileSystem::read_range(const std::string& path, int64_t offset,
                                                   int64_t size) {
  const std::lock_guard lock(mutex_);
  return files_.read_range(path, offset, size);
}
StatusOr<FileView> LockedFileSystem::map(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.map(path);
}
StatusOr<int64_t> LockedFileSystem::file_size(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.file_size(path);
}
StatusOr<FileAccess> LockedFileSystem::file_access(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.file_access(path);
}
bool LockedFileSystem::exists(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.exists(path);
}
StatusOr<std::vector<DirectoryEntry>> LockedFileSystem::list(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.list(path);
}
Status LockedFileSystem::make_directories(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.make_directories(path);
}
Status LockedFileSystem::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  return files_.rename(from, to);
}
Status LockedFileSystem::remove_file(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.remove_file(path);
}
Status LockedFileSystem::remove_tree(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.remove_tree(path);
}
Status LockedFileSystem::sync_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.sync_directory(path);
}
StatusOr<DirectoryLock> LockedFileSystem::lock_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.lock_directory(path);
}
StatusOr<int64_t> LockedFileSystem::available_bytes(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return files_.available_bytes(path);
}

}  // namespace rubato
