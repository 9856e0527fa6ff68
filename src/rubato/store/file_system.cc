#include "rubato/store/file_system.h"

#include <cerrno>
#include <filesystem>
#include <limits>
#include <system_error>

namespace rubato {

StatusOr<std::string> FileSystem::read_file(const std::string& path) {
  return read_range(path, 0, std::numeric_limits<int64_t>::max());
}

Status FileSystem::replace_file(const std::string& path, std::string_view bytes) {
  return replace_through(path, bytes, &FileSystem::create);
}

Status FileSystem::replace_private_file(const std::string& path, std::string_view bytes) {
  // One that a crash left would keep whatever mode it has.
  RUBATO_RETURN_IF_ERROR(remove_file(cat(path, ".tmp")));
  return replace_through(path, bytes, &FileSystem::create_private);
}

Status FileSystem::replace_through(const std::string& path, std::string_view bytes,
                                   Create create_temporary) {
  const std::string temporary = cat(path, ".tmp");
  const auto write = [&]() -> Status {
    RUBATO_ASSIGN_OR_RETURN(auto file, (this->*create_temporary)(temporary));
    RUBATO_RETURN_IF_ERROR(file->append(bytes));
    RUBATO_RETURN_IF_ERROR(file->sync());
    RUBATO_RETURN_IF_ERROR(file->close());
    return rename(temporary, path);
  };
  if (Status status = write(); !status.ok()) {
    // The first error is the one to report; a temporary that stays is overwritten next time.
    remove_file(temporary).IgnoreError();
    return status;
  }
  return sync_directory(parent_path(path));
}

std::string join_path(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  return directory.back() == '/' ? cat(directory, name) : cat(directory, "/", name);
}

std::string parent_path(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::string base_name(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::filesystem::path(path).filename().string();
}

Status locked_error(std::string_view path) {
  return absl::FailedPreconditionError(cat("[file] ", path,
                                           ": got a directory that another process works in, want "
                                           "it alone; wait for its end or name another one"));
}

Status file_error(std::string_view path, int error_number, std::string_view want) {
  if (error_number == ENOSPC || error_number == EDQUOT) {
    return absl::ResourceExhaustedError(cat("[file] ", path, ": the disk is full; want ", want,
                                            ": free some space or choose another directory"));
  }
  const std::string message = cat("[file] ", path, ": got ",
                                  std::generic_category().message(error_number), ", want ", want);
  switch (error_number) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case ENAMETOOLONG:
      return absl::FailedPreconditionError(message);
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EFBIG:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace rubato
