#include "tests/rpc/actors/killing_file_system.h"

#include <cerrno>
#include <csignal>

#include <sys/mman.h>
#include <unistd.h>

#include "rubato/rpc/logged_event.h"
#include "rubato/store/file_names.h"
#include "rubato/store/journal_segment.h"

namespace rubato {
namespace {

// Whether a delta's arrival is among the journal's records that are written here.
bool holds_an_arrival(std::string_view frames) {
  while (const std::optional<int64_t> bytes = frame_bytes(frames)) {
    const auto size = static_cast<size_t>(*bytes);
    const auto record = logged_event_from(frames.substr(0, size).substr(kRecordHeaderBytes));
    if (record.ok() && std::holds_alternative<UpdateArrived>(record->event)) return true;
    frames.remove_prefix(size);
  }
  return false;
}

// A delta has its name and this thread has not made that safe yet.
thread_local bool delta_was_named = false;

Trap* guarded = nullptr;

void die_at_the_guard(int) {
  if (guarded != nullptr) guarded->spring();
}

}  // namespace

// ---- a file being written

class KillingFileSystem::File final : public WritableFile {
 public:
  File(KillingFileSystem& owner, std::string path, bool is_new, std::unique_ptr<WritableFile> file)
      : owner_(owner), path_(std::move(path)), has_header_(!is_new), file_(std::move(file)) {}

  Status append(std::string_view bytes) override {
    if (owner_.is_full(path_)) {
      RUBATO_RETURN_IF_ERROR(file_->append(bytes.substr(0, bytes.size() / 2)));
      return file_error(path_, ENOSPC, "to write");
    }
    holds_arrival_ = has_header_ && owner_.is_in(path_, "journal") && holds_an_arrival(bytes);
    if (dies_here()) {
      file_->append(bytes.substr(0, bytes.size() / 2)).IgnoreError();
      owner_.trap_.spring();
    }
    has_header_ = true;
    return file_->append(bytes);
  }
  Status sync() override {
    if (is_snapshot()) owner_.pass(phase::kMidSnapshot);
    RUBATO_RETURN_IF_ERROR(file_->sync());
    if (holds_arrival_) owner_.pass(phase::kJournalToEffect);
    return absl::OkStatus();
  }
  Status truncate(int64_t size) override { return file_->truncate(size); }
  Status close() override { return file_->close(); }

 private:
  bool is_snapshot() const { return owner_.is_in(path_, "checkpoints"); }
  bool dies_here() {
    Trap& trap = owner_.trap_;
    if (holds_arrival_) return trap.reached(phase::kMidJournal);
    if (is_snapshot()) return trap.reached(phase::kMidSnapshot);
    return has_header_ && owner_.is_in(path_, "spool") && trap.reached(phase::kMidUpload);
  }

  KillingFileSystem& owner_;
  const std::string path_;
  bool has_header_;
  bool holds_arrival_ = false;  // in what was appended last
  std::unique_ptr<WritableFile> file_;
};

// ---- the seam

KillingFileSystem::KillingFileSystem(Trap& trap, std::string run_dir)
    : trap_(trap), run_dir_(std::move(run_dir)) {}

bool KillingFileSystem::is_in(const std::string& path, std::string_view room) const {
  return path.starts_with(join_path(run_dir_, room) + "/");
}

bool KillingFileSystem::is_full(const std::string& path) {
  const bool full = (is_in(path, "spool") && exists(join_path(run_dir_, kFullSpoolMark))) ||
                    (is_in(path, "journal") && exists(join_path(run_dir_, kFullJournalMark)));
  if (!full) return false;
  const auto log = disk_.open_append(join_path(run_dir_, "full"));
  return log.ok() && (*log)->append(path + "\n").ok();
}

StatusOr<std::unique_ptr<WritableFile>> KillingFileSystem::watched(
    const std::string& path, bool is_new, StatusOr<std::unique_ptr<WritableFile>> file) {
  if (!file.ok()) return file;
  return std::make_unique<File>(*this, path, is_new, std::move(*file));
}

StatusOr<std::unique_ptr<WritableFile>> KillingFileSystem::create(const std::string& path) {
  return watched(path, true, disk_.create(path));
}
StatusOr<std::unique_ptr<WritableFile>> KillingFileSystem::create_private(const std::string& path) {
  return watched(path, true, disk_.create_private(path));
}
StatusOr<std::unique_ptr<WritableFile>> KillingFileSystem::open_append(const std::string& path) {
  return watched(path, false, disk_.open_append(path));
}

Status KillingFileSystem::rename(const std::string& from, const std::string& to) {
  const bool trims = is_in(to, "kept") || base_name(to).starts_with(".old-");
  if (trims) pass(phase::kMidTrim);
  if (!trims && is_in(from, "checkpoints")) pass(phase::kMidSnapshot);
  RUBATO_RETURN_IF_ERROR(disk_.rename(from, to));
  delta_was_named = is_in(to, "spool") && to.ends_with(".delta");
  return absl::OkStatus();
}

Status KillingFileSystem::remove_file(const std::string& path) {
  const bool is_segment = is_in(path, "journal") && !path.ends_with(kTemporarySuffix);
  if (is_segment || is_in(path, "spool")) pass(phase::kMidTrim);
  return disk_.remove_file(path);
}

Status KillingFileSystem::remove_tree(const std::string& path) {
  if (base_name(path).starts_with(".old-") && exists(path)) pass(phase::kMidTrim);
  return disk_.remove_tree(path);
}

Status KillingFileSystem::sync_directory(const std::string& path) {
  RUBATO_RETURN_IF_ERROR(disk_.sync_directory(path));
  if (path == spool_directory(run_dir_) && std::exchange(delta_was_named, false))
    pass(phase::kSpoolToJournal);
  if (path == kept_directory(run_dir_)) pass(phase::kMidTrim);
  return absl::OkStatus();
}

StatusOr<FileView> KillingFileSystem::map(const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(FileView view, disk_.map(path));
  if (serving_ && is_in(path, "versions") && trap_.reached(phase::kMidDownload))
    guard_the_end(view);
  return view;
}

// Whoever reads the last page of the view has sent what comes before it.
void KillingFileSystem::guard_the_end(const FileView& view) {
  guarded = &trap_;
  struct sigaction action {};
  action.sa_handler = die_at_the_guard;
  RUBATO_CHECK(::sigaction(SIGSEGV, &action, nullptr) == 0, "no handler");
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t last = (view.bytes.size() - 1) / page * page;
  RUBATO_CHECK(::mprotect(const_cast<char*>(view.bytes.data()) + last, page, PROT_NONE) == 0,
               "no guard");
}

// ---- what goes through

StatusOr<std::string> KillingFileSystem::read_range(const std::string& path, int64_t offset,
                                                    int64_t size) {
  return disk_.read_range(path, offset, size);
}
StatusOr<int64_t> KillingFileSystem::file_size(const std::string& path) {
  return disk_.file_size(path);
}
StatusOr<FileAccess> KillingFileSystem::file_access(const std::string& path) {
  return disk_.file_access(path);
}
bool KillingFileSystem::exists(const std::string& path) { return disk_.exists(path); }
StatusOr<std::vector<DirectoryEntry>> KillingFileSystem::list(const std::string& path) {
  return disk_.list(path);
}
Status KillingFileSystem::make_directories(const std::string& path) {
  return disk_.make_directories(path);
}
StatusOr<DirectoryLock> KillingFileSystem::lock_directory(const std::string& path) {
  return disk_.lock_directory(path);
}
StatusOr<int64_t> KillingFileSystem::available_bytes(const std::string& path) {
  return disk_.available_bytes(path);
}

}  // namespace rubato
