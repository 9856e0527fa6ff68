#include "rubato/store/journal.h"

#include "rubato/base/one_line.h"
#include "rubato/store/file_names.h"
#include "rubato/store/journal_reader.h"

namespace rubato {
namespace {

std::string quoted(std::string_view text) { return one_line(shortened(text)); }

/// FailedPrecondition names the first thing in which a journal differs from what it should be of.
Status check_identity(const std::string& path, const JournalIdentity& got,
                      const JournalIdentity& want) {
  if (got == want) return absl::OkStatus();
  const auto differ = [&](std::string_view what, std::string_view have, std::string_view need) {
    return absl::FailedPreconditionError(cat("[journal] ", path, ": got a journal of another ",
                                             what, ", ", quoted(have), ", want ", quoted(need),
                                             "; name another directory"));
  };
  if (got.run != want.run) return differ("run", got.run, want.run);
  if (got.recipe_digest != want.recipe_digest)
    return differ("recipe", got.recipe_digest, want.recipe_digest);
  return differ("layout", got.layout_digest, want.layout_digest);
}

Status remove_leftovers(FileSystem& files, const std::string& directory) {
  RUBATO_ASSIGN_OR_RETURN(const auto entries, files.list(directory));
  for (const DirectoryEntry& entry : entries) {
    if (entry.name.ends_with(kTemporarySuffix))
      RUBATO_RETURN_IF_ERROR(files.remove_file(join_path(directory, entry.name)));
  }
  return absl::OkStatus();
}

}  // namespace

Journal::Journal(FileSystem& files, std::string run_dir, JournalIdentity identity,
                 DirectoryLock lock)
    : files_(&files),
      run_dir_(std::move(run_dir)),
      identity_(std::move(identity)),
      lock_(std::move(lock)) {}

StatusOr<Journal> Journal::open(FileSystem& files, const std::string& run_dir,
                                const JournalIdentity& identity) {
  const std::string directory = journal_directory(run_dir);
  RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
  RUBATO_ASSIGN_OR_RETURN(DirectoryLock lock, files.lock_directory(directory));
  RUBATO_RETURN_IF_ERROR(remove_leftovers(files, directory));
  Journal journal(files, run_dir, identity, std::move(lock));
  RUBATO_ASSIGN_OR_RETURN(journal.segments_, journal_segments(files, run_dir));
  RUBATO_RETURN_IF_ERROR(journal.segments_.empty() ? journal.begin_segment() : journal.recover());
  return journal;
}

StatusOr<Journal> Journal::begin(FileSystem& files, const std::string& run_dir,
                                 const JournalIdentity& identity, int64_t first) {
  RUBATO_CHECK(first >= 0, first);
  const std::string directory = journal_directory(run_dir);
  RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
  RUBATO_ASSIGN_OR_RETURN(DirectoryLock lock, files.lock_directory(directory));
  RUBATO_RETURN_IF_ERROR(remove_leftovers(files, directory));
  RUBATO_ASSIGN_OR_RETURN(const std::vector<int64_t> old, journal_segments(files, run_dir));
  for (const int64_t segment : old)
    RUBATO_RETURN_IF_ERROR(files.remove_file(journal_segment_path(run_dir, segment)));
  RUBATO_RETURN_IF_ERROR(files.sync_directory(directory));
  Journal journal(files, run_dir, identity, std::move(lock));
  journal.next_ = journal.synced_ = first;
  RUBATO_RETURN_IF_ERROR(journal.begin_segment());
  return journal;
}

Status Journal::recover() {
  RUBATO_ASSIGN_OR_RETURN(auto reader, JournalReader::open(*files_, run_dir_, segments_.front()));
  RUBATO_RETURN_IF_ERROR(check_identity(reader.path_, reader.identity(), identity_));
  for (bool more = true; more;) {
    RUBATO_ASSIGN_OR_RETURN(const auto record, reader.next());
    more = record.has_value();
  }
  seed_ = reader.seed_;
  previous_ = reader.previous_;
  next_ = synced_ = reader.next_;
  RUBATO_ASSIGN_OR_RETURN(const int64_t bytes, files_->file_size(reader.path_));
  RUBATO_ASSIGN_OR_RETURN(file_, files_->open_append(reader.path_));
  cut_bytes_ = bytes - reader.offset_;
  if (cut_bytes_ > 0) RUBATO_RETURN_IF_ERROR(file_->truncate(reader.offset_));
  // A process that was killed may have left whole records, or a segment, that are not on disk yet;
  // from now on they count.
  RUBATO_RETURN_IF_ERROR(file_->sync());
  return files_->sync_directory(journal_directory(run_dir_));
}

/// A segment has its name only when its header is on disk, so a torn header does not exist.
Status Journal::begin_segment() {
  const std::string path = journal_segment_path(run_dir_, next_);
  const std::string temporary = cat(path, kTemporarySuffix);
  const std::string header = encode_segment_header({identity_, next_, previous_});
  SegmentHeader written;
  RUBATO_ASSIGN_OR_RETURN(const BinaryHeader parsed, parse_segment_header(path, header, written));
  RUBATO_ASSIGN_OR_RETURN(auto file, files_->create(temporary));
  RUBATO_RETURN_IF_ERROR(file->append(header));
  RUBATO_RETURN_IF_ERROR(file->sync());
  RUBATO_RETURN_IF_ERROR(files_->rename(temporary, path));
  RUBATO_RETURN_IF_ERROR(files_->sync_directory(journal_directory(run_dir_)));
  file_ = std::move(file);
  seed_ = parsed.checksum;
  segments_.push_back(next_);
  return absl::OkStatus();
}

Status Journal::remember(const Status& status) {
  if (!status.ok())
    failed_ = absl::FailedPreconditionError(
        cat("[journal] ", journal_directory(run_dir_),
            ": got a journal that failed before, want it opened anew: ", status.message()));
  return status;
}

StatusOr<int64_t> Journal::append(std::string_view record) {
  RUBATO_RETURN_IF_ERROR(failed_);
  if (static_cast<int64_t>(record.size()) > kMaxRecordBytes)
    return absl::InvalidArgumentError(cat("[journal] ", journal_directory(run_dir_),
                                          ": got a record of ", record.size(), " bytes, want ",
                                          kMaxRecordBytes, " at most"));
  previous_ = append_frame(pending_, seed_, {next_, synced_, previous_, 0, record});
  return next_++;
}

Status Journal::write_pending() {
  RUBATO_RETURN_IF_ERROR(file_->append(pending_));
  return file_->sync();
}

Status Journal::sync() {
  RUBATO_RETURN_IF_ERROR(failed_);
  if (pending_.empty()) return absl::OkStatus();
  RUBATO_RETURN_IF_ERROR(remember(write_pending()));
  pending_.clear();
  synced_ = next_;
  return absl::OkStatus();
}

Status Journal::start_segment() {
  RUBATO_RETURN_IF_ERROR(sync());
  if (segments_.back() == next_) return absl::OkStatus();
  return remember(begin_segment());
}

Status Journal::trim_before(int64_t index) {
  while (segments_.size() > 1 && segments_[1] <= index) {
    RUBATO_RETURN_IF_ERROR(files_->remove_file(journal_segment_path(run_dir_, segments_.front())));
    segments_.erase(segments_.begin());
    // One by one, so that a crash never leaves an older one without a newer one.
    RUBATO_RETURN_IF_ERROR(files_->sync_directory(journal_directory(run_dir_)));
  }
  return absl::OkStatus();
}

}  // namespace rubato
