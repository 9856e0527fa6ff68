#include "rubato/store/memory_file_system.h"

#include <algorithm>
#include <cerrno>

namespace rubato {
namespace {

/// Parts of a path; "." and empty parts say nothing.
std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    begin = end + 1;
  }
  return parts;
}

Status power_error(std::string_view path) {
  return absl::UnavailableError(cat("[file] ", path, ": got no power, want a running machine"));
}

}  // namespace

/// A file or a directory: what is seen now and what a crash would leave.
struct MemoryFileSystem::Node {
  bool is_directory = false;
  FileAccess access = FileAccess::kEveryone;
  std::string bytes, synced_bytes;
  std::map<std::string, NodePtr> entries, synced_entries;
  std::weak_ptr<const void> lock;
};

class MemoryFileSystem::File final : public WritableFile {
 public:
  File(MemoryFileSystem& system, std::string path, NodePtr node)
      : system_(system), path_(std::move(path)), node_(std::move(node)) {}

  Status append(std::string_view bytes) override {
    RUBATO_CHECK(node_ != nullptr, path_, " is closed");
    const int64_t want = static_cast<int64_t>(bytes.size());
    const int64_t room = std::min(want, system_.room_);
    const int64_t written = system_.spend(room);
    node_->bytes.append(bytes.substr(0, static_cast<size_t>(written)));
    if (system_.room_ != std::numeric_limits<int64_t>::max()) system_.room_ -= written;
    if (system_.cut_) return power_error(path_);
    return room < want ? file_error(path_, ENOSPC, "to write") : absl::OkStatus();
  }

  Status sync() override {
    RUBATO_CHECK(node_ != nullptr, path_, " is closed");
    RUBATO_RETURN_IF_ERROR(system_.act(path_));
    if (system_.failing_syncs_ > 0) {
      --system_.failing_syncs_;
      return file_error(path_, EIO, "to sync");
    }
    node_->synced_bytes = node_->bytes;
    return absl::OkStatus();
  }

  Status truncate(int64_t size) override {
    RUBATO_CHECK(node_ != nullptr, path_, " is closed");
    RUBATO_CHECK(size >= 0 && size <= static_cast<int64_t>(node_->bytes.size()), path_);
    RUBATO_RETURN_IF_ERROR(system_.act(path_));
    node_->bytes.resize(static_cast<size_t>(size));
    return absl::OkStatus();
  }

  Status close() override {
    node_ = nullptr;
    return absl::OkStatus();
  }

 private:
  MemoryFileSystem& system_;
  std::string path_;
  NodePtr node_;
};

MemoryFileSystem::MemoryFileSystem() : root_(std::make_shared<Node>()) {
  root_->is_directory = true;
}
MemoryFileSystem::~MemoryFileSystem() = default;

int64_t MemoryFileSystem::spend(int64_t units) {
  const int64_t granted = std::min(units, power_);
  if (granted < units) cut_ = true;
  if (power_ != std::numeric_limits<int64_t>::max()) power_ -= granted;
  work_done_ += granted;
  return granted;
}

Status MemoryFileSystem::act(const std::string& path) {
  return spend(1) == 1 ? absl::OkStatus() : power_error(path);
}

MemoryFileSystem::NodePtr MemoryFileSystem::find(const std::string& path) {
  NodePtr node = root_;
  for (const std::string& part : split_path(path)) {
    const auto it = node->entries.find(part);
    if (it == node->entries.end()) return nullptr;
    node = it->second;
  }
  return node;
}

StatusOr<MemoryFileSystem::NodePtr> MemoryFileSystem::parent_of(const std::string& path,
                                                                std::string_view want) {
  NodePtr parent = find(parent_path(path));
  if (parent == nullptr) return file_error(path, ENOENT, want);
  if (!parent->is_directory) return file_error(path, ENOTDIR, want);
  return parent;
}

StatusOr<MemoryFileSystem::NodePtr> MemoryFileSystem::find_file(const std::string& path,
                                                                std::string_view want) {
  if (cut_) return power_error(path);
  NodePtr node = find(path);
  if (node == nullptr) return file_error(path, ENOENT, want);
  if (node->is_directory) return file_error(path, EISDIR, want);
  return node;
}

StatusOr<std::unique_ptr<WritableFile>> MemoryFileSystem::open_writable(const std::string& path,
                                                                        bool empty) {
  RUBATO_RETURN_IF_ERROR(act(path));
  RUBATO_ASSIGN_OR_RETURN(NodePtr parent, parent_of(path, "a file to write"));
  NodePtr& node = parent->entries[base_name(path)];
  if (node == nullptr) node = std::make_shared<Node>();
  if (node->is_directory) return file_error(path, EISDIR, "a file to write");
  if (empty) node->bytes.clear();
  return std::make_unique<File>(*this, path, node);
}

StatusOr<std::unique_ptr<WritableFile>> MemoryFileSystem::create(const std::string& path) {
  return open_writable(path, true);
}

StatusOr<std::unique_ptr<WritableFile>> MemoryFileSystem::create_private(const std::string& path) {
  if (find(path) != nullptr) return file_error(path, EEXIST, "a new file to write");
  RUBATO_ASSIGN_OR_RETURN(auto file, open_writable(path, true));
  find(path)->access = FileAccess::kOwner;
  return file;
}

StatusOr<std::unique_ptr<WritableFile>> MemoryFileSystem::open_append(const std::string& path) {
  return open_writable(path, false);
}

StatusOr<std::string> MemoryFileSystem::read_range(const std::string& path, int64_t offset,
                                                   int64_t size) {
  RUBATO_CHECK(offset >= 0 && size >= 0, path);
  RUBATO_ASSIGN_OR_RETURN(NodePtr node, find_file(path, "a file to read"));
  const size_t begin = std::min(static_cast<size_t>(offset), node->bytes.size());
  return node->bytes.substr(begin, static_cast<size_t>(size));
}

StatusOr<FileView> MemoryFileSystem::map(const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(NodePtr node, find_file(path, "a file to map"));
  auto copy = std::make_shared<const std::string>(node->bytes);
  return FileView{*copy, copy};
}

StatusOr<int64_t> MemoryFileSystem::file_size(const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(NodePtr node, find_file(path, "a file to read"));
  return static_cast<int64_t>(node->bytes.size());
}

StatusOr<FileAccess> MemoryFileSystem::file_access(const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(NodePtr node, find_file(path, "a file to read"));
  return node->access;
}

bool MemoryFileSystem::exists(const std::string& path) { return !cut_ && find(path) != nullptr; }

StatusOr<std::vector<DirectoryEntry>> MemoryFileSystem::list(const std::string& path) {
  if (cut_) return power_error(path);
  const NodePtr node = find(path);
  if (node == nullptr) return file_error(path, ENOENT, "a directory to list");
  if (!node->is_directory) return file_error(path, ENOTDIR, "a directory to list");
  std::vector<DirectoryEntry> entries;
  for (const auto& [name, entry] : node->entries) entries.push_back({name, entry->is_directory});
  return entries;
}

Status MemoryFileSystem::make_directories(const std::string& path) {
  NodePtr node = root_;
  for (const std::string& part : split_path(path)) {
    if (!node->is_directory) return file_error(path, ENOTDIR, "to make a directory");
    if (!node->entries.contains(part)) {
      RUBATO_RETURN_IF_ERROR(act(path));
      auto made = std::make_shared<Node>();
      made->is_directory = true;
      node->entries[part] = made;
      RUBATO_RETURN_IF_ERROR(act(path));
      node->synced_entries[part] = made;
    }
    node = node->entries[part];
  }
  if (!node->is_directory) return file_error(path, EEXIST, "to make a directory");
  return cut_ ? power_error(path) : absl::OkStatus();
}

Status MemoryFileSystem::rename(const std::string& from, const std::string& to) {
  RUBATO_RETURN_IF_ERROR(act(from));
  const std::string want = cat("to rename it to ", to);
  if (to == failing_rename_) {
    failing_rename_.clear();
    return file_error(from, EIO, want);
  }
  RUBATO_ASSIGN_OR_RETURN(NodePtr from_parent, parent_of(from, want));
  RUBATO_ASSIGN_OR_RETURN(NodePtr to_parent, parent_of(to, want));
  const NodePtr moved = find(from);
  if (moved == nullptr) return file_error(from, ENOENT, want);
  if (const NodePtr there = find(to)) {
    if (there->is_directory != moved->is_directory)
      return file_error(from, there->is_directory ? EISDIR : ENOTDIR, want);
    if (!there->entries.empty()) return file_error(from, ENOTEMPTY, want);
  }
  from_parent->entries.erase(base_name(from));
  to_parent->entries[base_name(to)] = moved;
  return absl::OkStatus();
}

Status MemoryFileSystem::remove_file(const std::string& path) {
  RUBATO_RETURN_IF_ERROR(act(path));
  const NodePtr node = find(path);
  if (node == nullptr) return absl::OkStatus();
  if (node->is_directory) return file_error(path, EISDIR, "to remove it");
  find(parent_path(path))->entries.erase(base_name(path));
  return absl::OkStatus();
}

Status MemoryFileSystem::remove_tree(const std::string& path) {
  const NodePtr node = find(path);
  if (node != nullptr && node->is_directory) {
    // One unit each, so that the power can go with half of the files removed.
    const auto entries = node->entries;
    for (const auto& [name, entry] : entries) {
      RUBATO_RETURN_IF_ERROR(remove_tree(join_path(path, name)));
    }
  }
  RUBATO_RETURN_IF_ERROR(act(path));
  if (node != nullptr) find(parent_path(path))->entries.erase(base_name(path));
  return absl::OkStatus();
}

Status MemoryFileSystem::sync_directory(const std::string& path) {
  RUBATO_RETURN_IF_ERROR(act(path));
  const NodePtr node = find(path);
  if (node == nullptr) return file_error(path, ENOENT, "a directory to sync");
  if (!node->is_directory) return file_error(path, ENOTDIR, "a directory to sync");
  node->synced_entries = node->entries;
  return absl::OkStatus();
}

StatusOr<DirectoryLock> MemoryFileSystem::lock_directory(const std::string& path) {
  if (cut_) return power_error(path);
  const NodePtr node = find(path);
  if (node == nullptr) return file_error(path, ENOENT, "a directory to lock");
  if (!node->is_directory) return file_error(path, ENOTDIR, "a directory to lock");
  if (!node->lock.expired()) return locked_error(path);
  auto lock = std::make_shared<const bool>(true);
  node->lock = lock;
  return lock;
}

StatusOr<int64_t> MemoryFileSystem::available_bytes(const std::string& path) {
  if (cut_) return power_error(path);
  return available_;
}

void MemoryFileSystem::crash(Node& node, CrashKeeps keeps) {
  if (keeps == CrashKeeps::kNothing) node.entries = node.synced_entries;
  std::string& bytes = node.bytes;
  if (keeps == CrashKeeps::kNothing || keeps == CrashKeeps::kNames) bytes = node.synced_bytes;
  const auto unsynced = std::ranges::mismatch(bytes, node.synced_bytes).in1;
  const auto half = unsynced + (bytes.end() - unsynced) / 2;
  if (keeps == CrashKeeps::kNamesAndHalf) bytes.erase(half, bytes.end());
  if (keeps == CrashKeeps::kNamesAndHole) std::fill(unsynced, half, '\0');
  node.synced_entries = node.entries;
  node.synced_bytes = bytes;
  node.lock.reset();  // whoever held it is gone
  for (const auto& [name, entry] : node.entries) crash(*entry, keeps);
}

void MemoryFileSystem::restart(CrashKeeps keeps) {
  crash(*root_, keeps);
  power_ = std::numeric_limits<int64_t>::max();
  cut_ = false;
}

void MemoryFileSystem::set_file_access(const std::string& path, FileAccess access) {
  const NodePtr node = find(path);
  RUBATO_CHECK(node != nullptr, path);
  node->access = access;
}

void MemoryFileSystem::corrupt(const std::string& path, int64_t offset, char mask) {
  const NodePtr node = find(path);
  RUBATO_CHECK(node != nullptr && offset < static_cast<int64_t>(node->bytes.size()), path);
  char& byte = node->bytes[static_cast<size_t>(offset)];
  byte = static_cast<char>(byte ^ mask);
}

}  // namespace rubato
