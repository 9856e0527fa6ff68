#include "rubato/store/version_store.h"

#include "rubato/base/digest.h"
#include "rubato/base/one_line.h"
#include "rubato/store/file_names.h"

namespace rubato {
namespace {

struct VersionHeader {
  int64_t version = 0;
  std::string layout_digest, digest;
  int64_t values = 0;
  template <class A>
  void archive(A& a) {
    a(version, layout_digest, digest, values);
  }
};

std::string_view bytes_of(std::span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

/// A whole file; its payload is not compared with its digest.
StatusOr<PublishedVersion> open_file(FileSystem& files, const std::string& path, Version version,
                                     const std::string& layout_digest) {
  PublishedVersion published;
  RUBATO_ASSIGN_OR_RETURN(published.file, files.map(path));
  const std::string_view bytes = published.file.bytes;
  VersionHeader header;
  RUBATO_ASSIGN_OR_RETURN(const BinaryHeader parsed,
                          parse_header_as(kVersionFormat, path, bytes, header));
  const std::string_view payload = bytes.substr(static_cast<size_t>(parsed.bytes));
  if (header.version != version.value())
    return damaged_file(kVersionFormat, path, cat("it is version ", header.version));
  if (header.values < 0 || payload.size() % sizeof(float) != 0 ||
      static_cast<uint64_t>(header.values) != payload.size() / sizeof(float))
    return damaged_file(kVersionFormat, path,
                        cat("got ", payload.size(), " bytes, want ", header.values, " floats"));
  if (header.layout_digest != layout_digest)
    return absl::FailedPreconditionError(
        cat("[versions] ", path, ": got parameters of another layout, ",
            one_line(shortened(header.layout_digest)), ", want ", layout_digest));
  published.version = version;
  published.digest = std::move(header.digest);
  // Aligned: the map begins at a page, or at a string's first byte, and the header is a multiple of
  // 64 bytes.
  published.values = {reinterpret_cast<const float*>(payload.data()),
                      static_cast<size_t>(header.values)};
  return published;
}

}  // namespace

StatusOr<std::unique_ptr<VersionStore>> VersionStore::open(FileSystem& files,
                                                           const std::string& run_dir,
                                                           const std::string& layout_digest) {
  const std::string directory = versions_directory(run_dir);
  RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
  RUBATO_ASSIGN_OR_RETURN(DirectoryLock lock, files.lock_directory(directory));
  std::unique_ptr<VersionStore> store(
      new VersionStore(files, run_dir, layout_digest, std::move(lock)));
  RUBATO_RETURN_IF_ERROR(store->scan());
  return store;
}

Status VersionStore::scan() {
  const std::string directory = versions_directory(run_dir_);
  RUBATO_ASSIGN_OR_RETURN(const auto entries, files_->list(directory));
  for (const DirectoryEntry& entry : entries) {
    const std::string path = join_path(directory, entry.name);
    const Version version(version_of_name(entry.name));
    if (entry.name.ends_with(kTemporarySuffix)) RUBATO_RETURN_IF_ERROR(files_->remove_file(path));
    if (version < Version(0)) continue;
    const auto found = open_file(*files_, path, version, layout_digest_);
    if (found.ok() && digest_of(found->values) == found->digest) {
      entries_[version] = {found->digest, static_cast<int64_t>(found->file.bytes.size())};
    } else if (found.ok() || absl::IsDataLoss(found.status())) {
      RUBATO_RETURN_IF_ERROR(files_->remove_file(path));
    } else {
      return found.status();
    }
  }
  return absl::OkStatus();
}

Status VersionStore::publish(Version version, std::span<const float> values) {
  RUBATO_CHECK(version >= Version(0), version);
  VersionHeader body{version.value(), layout_digest_, digest_of(values),
                     static_cast<int64_t>(values.size())};
  const std::lock_guard writing(writing_);
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(version);
    // Writing it again could only take away what persist() promised.
    if (it != entries_.end() && it->second.digest == body.digest) return absl::OkStatus();
  }
  const std::string path = version_path(run_dir_, version);
  const std::string temporary = cat(path, kTemporarySuffix);
  const std::string header = encode_header(kVersionFormat, to_archive(body));
  const auto write = [&]() -> Status {
    RUBATO_ASSIGN_OR_RETURN(auto file, files_->create(temporary));
    RUBATO_RETURN_IF_ERROR(file->append(header));
    RUBATO_RETURN_IF_ERROR(file->append(bytes_of(values)));
    RUBATO_RETURN_IF_ERROR(file->close());
    return files_->rename(temporary, path);
  };
  if (const Status status = write(); !status.ok()) {
    // The first error is the one to report; whoever opens the store next removes what stays.
    files_->remove_file(temporary).IgnoreError();
    return status;
  }
  const std::lock_guard lock(mutex_);
  entries_[version] = {body.digest, static_cast<int64_t>(header.size() + values.size_bytes())};
  return absl::OkStatus();
}

Status VersionStore::not_kept(Version version) const {
  const std::vector<Version> kept = list();
  return absl::NotFoundError(
      cat("[versions] ", versions_directory(run_dir_), ": got version ", version,
          ", want one that is kept: ", kept.empty() ? "none is" : join(kept, ", ")));
}

StatusOr<PublishedVersion> VersionStore::read(Version version) const {
  auto published = open_file(*files_, version_path(run_dir_, version), version, layout_digest_);
  return absl::IsNotFound(published.status()) ? not_kept(version) : std::move(published);
}

Status VersionStore::persist(const std::set<Version>& versions) {
  const std::lock_guard writing(writing_);
  for (const Version version : versions) {
    const std::string path = version_path(run_dir_, version);
    if (!files_->exists(path)) return not_kept(version);  // to append would make it
    RUBATO_ASSIGN_OR_RETURN(auto file, files_->open_append(path));
    RUBATO_RETURN_IF_ERROR(file->sync());
  }
  return files_->sync_directory(versions_directory(run_dir_));
}

Status VersionStore::retain(const std::set<Version>& versions) {
  const std::lock_guard writing(writing_);
  for (const Version version : list()) {
    if (versions.contains(version)) continue;
    RUBATO_RETURN_IF_ERROR(files_->remove_file(version_path(run_dir_, version)));
    const std::lock_guard lock(mutex_);
    entries_.erase(version);
  }
  return absl::OkStatus();
}

std::vector<Version> VersionStore::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<Version> versions;
  for (const auto& [version, entry] : entries_) versions.push_back(version);
  return versions;
}

int64_t VersionStore::bytes_used() const {
  const std::lock_guard lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [version, entry] : entries_) bytes += entry.bytes;
  return bytes;
}

}  // namespace rubato
