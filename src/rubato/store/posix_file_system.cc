#include "rubato/store/posix_file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rubato {
namespace {

/// Calls again as long as a signal interrupts.
template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

/// Closes its descriptor when it goes.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  /// 0, or the errno of closing. Never retried: after EINTR Linux has closed it.
  int close() {
    if (fd_ < 0) return 0;
    const int result = ::close(fd_);
    fd_ = -1;
    return result == 0 || errno == EINTR ? 0 : errno;
  }

 private:
  int fd_;
};

int open_descriptor(const std::string& path, int flags, mode_t mode = 0666) {
  return retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
}

class PosixWritableFile final : public WritableFile {
 public:
  PosixWritableFile(std::string path, int fd) : path_(std::move(path)), descriptor_(fd) {}

  Status append(std::string_view bytes) override {
    while (!bytes.empty()) {
      // Linux writes at most 2 GiB at once.
      const size_t piece = std::min<size_t>(bytes.size(), size_t{1} << 30);
      const ssize_t written =
          retry([&] { return ::write(descriptor_.get(), bytes.data(), piece); });
      if (written < 0) return file_error(path_, errno, "to write");
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }

  Status sync() override {
    if (retry([&] { return ::fsync(descriptor_.get()); }) != 0)
      return file_error(path_, errno, "to sync");
    return absl::OkStatus();
  }

  Status truncate(int64_t size) override {
    // A file that create() opened writes at its position, which must not stay behind the end.
    if (retry([&] { return ::ftruncate(descriptor_.get(), size); }) != 0 ||
        ::lseek(descriptor_.get(), size, SEEK_SET) < 0)
      return file_error(path_, errno, "to shorten it");
    return absl::OkStatus();
  }

  Status close() override {
    if (const int error = descriptor_.close(); error != 0)
      return file_error(path_, error, "to close");
    return absl::OkStatus();
  }

 private:
  std::string path_;
  Descriptor descriptor_;
};

StatusOr<std::unique_ptr<WritableFile>> open_writable(const std::string& path, int flags) {
  const int fd = open_descriptor(path, O_WRONLY | O_CREAT | flags);
  if (fd < 0) return file_error(path, errno, "a file to write");
  return std::make_unique<PosixWritableFile>(path, fd);
}

/// Size of a regular file behind an open descriptor.
StatusOr<int64_t> size_of_open(const std::string& path, const Descriptor& descriptor) {
  if (!descriptor.valid()) return file_error(path, errno, "a file to read");
  struct stat facts {};
  if (::fstat(descriptor.get(), &facts) != 0) return file_error(path, errno, "a file to read");
  if (S_ISDIR(facts.st_mode)) return file_error(path, EISDIR, "a file to read");
  return int64_t{facts.st_size};
}

}  // namespace

StatusOr<std::unique_ptr<WritableFile>> PosixFileSystem::create(const std::string& path) {
  return open_writable(path, O_TRUNC);
}

StatusOr<std::unique_ptr<WritableFile>> PosixFileSystem::create_private(const std::string& path) {
  const int fd = open_descriptor(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (fd < 0) return file_error(path, errno, "a new file to write");
  return std::make_unique<PosixWritableFile>(path, fd);
}

StatusOr<std::unique_ptr<WritableFile>> PosixFileSystem::open_append(const std::string& path) {
  return open_writable(path, O_APPEND);
}

StatusOr<std::string> PosixFileSystem::read_range(const std::string& path, int64_t offset,
                                                  int64_t size) {
  RUBATO_CHECK(offset >= 0 && size >= 0, path);
  Descriptor descriptor(open_descriptor(path, O_RDONLY));
  RUBATO_ASSIGN_OR_RETURN(const int64_t file_bytes, size_of_open(path, descriptor));
  std::string bytes;
  bytes.resize(static_cast<size_t>(std::clamp<int64_t>(file_bytes - offset, 0, size)));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = retry([&] {
      return ::pread(descriptor.get(), bytes.data() + done, bytes.size() - done,
                     offset + static_cast<int64_t>(done));
    });
    if (count < 0) return file_error(path, errno, "to read");
    if (count == 0) break;  // shortened since its size was asked
    done += static_cast<size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

StatusOr<FileView> PosixFileSystem::map(const std::string& path) {
  Descriptor descriptor(open_descriptor(path, O_RDONLY));
  RUBATO_ASSIGN_OR_RETURN(const int64_t file_bytes, size_of_open(path, descriptor));
  if (file_bytes == 0) return FileView{};  // the system maps no empty range
  const size_t size = static_cast<size_t>(file_bytes);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
  if (address == MAP_FAILED) return file_error(path, errno, "a file to map");
  FileView view;
  view.bytes = std::string_view(static_cast<const char*>(address), size);
  view.owner = std::shared_ptr<const void>(
      address, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  return view;
}

StatusOr<int64_t> PosixFileSystem::file_size(const std::string& path) {
  Descriptor descriptor(open_descriptor(path, O_RDONLY));
  return size_of_open(path, descriptor);
}

StatusOr<FileAccess> PosixFileSystem::file_access(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return file_error(path, errno, "a file to read");
  if ((facts.st_mode & S_IRWXO) != 0) return FileAccess::kEveryone;
  return (facts.st_mode & S_IRWXG) != 0 ? FileAccess::kGroup : FileAccess::kOwner;
}

bool PosixFileSystem::exists(const std::string& path) {
  struct stat facts {};
  return ::lstat(path.c_str(), &facts) == 0;
}

StatusOr<std::vector<DirectoryEntry>> PosixFileSystem::list(const std::string& path) {
  std::error_code error;
  std::vector<DirectoryEntry> entries;
  auto it = std::filesystem::directory_iterator(path, error);
  for (const auto end = std::filesystem::directory_iterator(); !error && it != end;
       it.increment(error)) {
    std::error_code vanished;
    entries.push_back({it->path().filename().string(), it->is_directory(vanished)});
  }
  if (error) return file_error(path, error.value(), "a directory to list");
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

Status PosixFileSystem::make_directories(const std::string& path) {
  const std::string parent = parent_path(path);
  if (::mkdir(path.c_str(), 0777) == 0) return sync_directory(parent);
  const int error_number = errno;
  std::error_code error;
  if (error_number == EEXIST && std::filesystem::is_directory(path, error)) return absl::OkStatus();
  if (error_number != ENOENT || path.empty() || parent == path)
    return file_error(path, error_number, "to make a directory");
  RUBATO_RETURN_IF_ERROR(make_directories(parent));
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST)
    return file_error(path, errno, "to make a directory");
  return sync_directory(parent);
}

Status PosixFileSystem::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return file_error(from, errno, cat("to rename it to ", to));
  return absl::OkStatus();
}

Status PosixFileSystem::remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return file_error(path, errno, "to remove it");
  return absl::OkStatus();
}

Status PosixFileSystem::remove_tree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return file_error(path, error.value(), "to remove it with all that is in it");
  return absl::OkStatus();
}

Status PosixFileSystem::sync_directory(const std::string& path) {
  Descriptor descriptor(open_descriptor(path, O_RDONLY | O_DIRECTORY));
  if (!descriptor.valid()) return file_error(path, errno, "a directory to sync");
  if (retry([&] { return ::fsync(descriptor.get()); }) == 0) return absl::OkStatus();
  // Some file systems cannot sync directories and say so; they promise what they can without it.
  if (errno == EINVAL || errno == ENOTSUP) return absl::OkStatus();
  return file_error(path, errno, "to sync the directory");
}

StatusOr<DirectoryLock> PosixFileSystem::lock_directory(const std::string& path) {
  auto descriptor = std::make_shared<Descriptor>(open_descriptor(path, O_RDONLY | O_DIRECTORY));
  if (!descriptor->valid()) return file_error(path, errno, "a directory to lock");
  if (::flock(descriptor->get(), LOCK_EX | LOCK_NB) == 0) return descriptor;
  if (errno == EWOULDBLOCK) return locked_error(path);
  // File systems over a network may lock no directory; a run there must do without.
  return descriptor;
}

StatusOr<int64_t> PosixFileSystem::available_bytes(const std::string& path) {
  std::string where = path;
  while (!exists(where) && parent_path(where) != where) where = parent_path(where);
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(where, error);
  if (error) return file_error(where, error.value(), "the free space of its disk");
  return static_cast<int64_t>(
      std::min<uintmax_t>(space.available, std::numeric_limits<int64_t>::max()));
}

}  // namespace rubato
