#include "rubato/store/spool_upload.h"

#include "rubato/store/file_names.h"

namespace rubato {
namespace {

using State = SpoolSlot::State;

template <class... Pieces>
std::string about(TaskId task, const Pieces&... pieces) {
  return cat("[spool] task ", task, ": got ", pieces...);
}

}  // namespace

SpoolUpload::SpoolUpload(FileSystem& files, const std::string& run_dir, TaskId task,
                         const DeltaMeta& meta, std::shared_ptr<SpoolSlot> slot)
    : files_(&files),
      task_(task),
      meta_(meta),
      part_(spool_part_path(run_dir, task)),
      delta_(spool_delta_path(run_dir, task)),
      slot_(std::move(slot)),
      digester_(std::make_unique<Digester>()) {}

SpoolUpload::~SpoolUpload() {
  if (slot_ == nullptr) return;  // moved from
  const std::lock_guard lock(slot_->mutex);
  if (slot_->turn == turn_) slot_->claimed_bytes = 0;
}

StatusOr<SpoolUpload> SpoolUpload::begin(FileSystem& files, const std::string& run_dir, TaskId task,
                                         const DeltaMeta& meta, std::shared_ptr<SpoolSlot> slot) {
  SpoolUpload upload(files, run_dir, task, meta, std::move(slot));
  const std::lock_guard lock(upload.slot_->mutex);
  SpoolSlot& shared = *upload.slot_;
  upload.turn_ = ++shared.turn;
  if (shared.state == State::kDelta) RUBATO_RETURN_IF_ERROR(upload.find_delta());
  if (shared.state == State::kDelta) return upload;
  bool resumed = false;
  if (shared.state == State::kPart) {
    RUBATO_ASSIGN_OR_RETURN(resumed, upload.resume_part());
  }
  if (!resumed) RUBATO_RETURN_IF_ERROR(upload.start_over());
  shared.claimed_bytes = shared.header_bytes + meta.bytes;
  return upload;
}

/// The finished delta is this upload's end; a damaged one is removed.
Status SpoolUpload::find_delta() {
  const auto there = open_delta_file(*files_, delta_, task_);
  const bool sound = there.ok() && there->verify().ok();
  if (sound && there->header.meta != meta_)
    return absl::AlreadyExistsError(about(task_, "a delta with digest ", meta_.digest,
                                          ", want the one that is here, ",
                                          there->header.meta.digest));
  if (sound) {
    slot_->verified = true;
    offset_ = meta_.bytes;
    slot_->claimed_bytes = 0;
    return absl::OkStatus();
  }
  if (!there.ok() && !absl::IsDataLoss(there.status()) && !absl::IsNotFound(there.status()))
    return there.status();
  RUBATO_RETURN_IF_ERROR(files_->remove_file(delta_));
  slot_->set(State::kEmpty, 0, 0);
  return absl::OkStatus();
}

/// False when the part is of another upload. After a crash its bytes may be anything; commit() will
/// find out.
StatusOr<bool> SpoolUpload::resume_part() {
  RUBATO_ASSIGN_OR_RETURN(const FileView view, files_->map(part_));
  const auto header = parse_delta_header(part_, view.bytes);
  if (!header.ok() || header->task != task_ || header->meta != meta_ ||
      static_cast<int64_t>(view.bytes.size()) > header->file_bytes())
    return false;
  const std::string_view payload = view.bytes.substr(static_cast<size_t>(header->bytes));
  digester_->update(payload);
  offset_ = static_cast<int64_t>(payload.size());
  RUBATO_ASSIGN_OR_RETURN(file_, files_->open_append(part_));
  slot_->set(State::kPart, header->bytes, offset_);
  return true;
}

Status SpoolUpload::start_over() {
  const std::string header = encode_delta_header(task_, meta_);
  const auto write = [&]() -> Status {
    RUBATO_ASSIGN_OR_RETURN(file_, files_->create(part_));
    return file_->append(header);
  };
  if (const Status status = write(); !status.ok()) {
    // The first error is the one to report; a part that stays is of no upload.
    files_->remove_file(part_).IgnoreError();
    slot_->set(State::kEmpty, 0, 0);
    return status;
  }
  slot_->set(State::kPart, static_cast<int64_t>(header.size()), 0);
  return absl::OkStatus();
}

Status SpoolUpload::check_turn() const {
  if (slot_->turn == turn_) return absl::OkStatus();
  return absl::AbortedError(
      about(task_, "an upload that a newer one has taken over, or that was removed; begin again"));
}

void SpoolUpload::end() {
  file_ = nullptr;
  slot_->claimed_bytes = 0;
}

Status SpoolUpload::append(int64_t offset, std::string_view chunk) {
  const std::lock_guard lock(slot_->mutex);
  RUBATO_RETURN_IF_ERROR(check_turn());
  const int64_t bytes = static_cast<int64_t>(chunk.size());
  if (offset != offset_)
    return absl::InvalidArgumentError(
        about(task_, "a chunk at byte ", offset, ", want byte ", offset_));
  if (bytes > meta_.bytes - offset_)
    return absl::InvalidArgumentError(about(task_, "a chunk that ends at byte ", offset_ + bytes,
                                            ", want ", meta_.bytes, " bytes in all"));
  if (bytes == 0) return absl::OkStatus();
  if (file_ == nullptr)
    return absl::FailedPreconditionError(
        about(task_, "a chunk for an upload that has failed, want it begun again"));
  if (const Status status = file_->append(chunk); !status.ok()) {
    end();  // a piece of the chunk may be in the file
    const auto size = files_->file_size(part_);
    if (size.ok()) slot_->payload_bytes = *size - slot_->header_bytes;
    return status;
  }
  digester_->update(chunk);
  offset_ += bytes;
  slot_->payload_bytes = offset_;
  return absl::OkStatus();
}

Status SpoolUpload::commit() {
  const std::lock_guard lock(slot_->mutex);
  RUBATO_RETURN_IF_ERROR(check_turn());
  // Whoever renamed it may have been killed before its name was on disk.
  if (slot_->state == State::kDelta) return files_->sync_directory(parent_path(delta_));
  if (file_ == nullptr)
    return absl::FailedPreconditionError(
        about(task_, "the end of an upload that has failed, want it begun again"));
  const Status status = finish();
  end();
  if (status.ok()) return status;
  // After an error of a sync nobody knows what is on disk, so nothing stays to go on from.
  files_->remove_file(part_).IgnoreError();
  files_->remove_file(delta_).IgnoreError();
  slot_->set(State::kEmpty, 0, 0);
  return status;
}

Status SpoolUpload::finish() {
  if (offset_ != meta_.bytes)
    return absl::InvalidArgumentError(
        about(task_, "the end behind ", offset_, " bytes, want ", meta_.bytes));
  if (const std::string digest = digester_->hex(); digest != meta_.digest)
    return absl::DataLossError(about(task_, "bytes with digest ", digest, ", want ", meta_.digest,
                                     "; send them again from the start"));
  RUBATO_RETURN_IF_ERROR(file_->sync());
  RUBATO_RETURN_IF_ERROR(file_->close());
  RUBATO_RETURN_IF_ERROR(files_->rename(part_, delta_));
  RUBATO_RETURN_IF_ERROR(files_->sync_directory(parent_path(delta_)));
  slot_->state = State::kDelta;
  slot_->verified = true;
  return absl::OkStatus();
}

}  // namespace rubato
