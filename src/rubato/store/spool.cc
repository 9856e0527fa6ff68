#include "rubato/store/spool.h"

#include "rubato/store/file_names.h"

namespace rubato {
namespace {

using State = SpoolSlot::State;

/// What is in a delta's file; nobody asks yet whether it is what was announced.
Status find_delta(FileSystem& files, const std::string& path, TaskId task, SpoolSlot& slot) {
  RUBATO_ASSIGN_OR_RETURN(const int64_t bytes, files.file_size(path));
  const auto delta = open_delta_file(files, path, task);
  const int64_t header_bytes = delta.ok() ? delta->header.bytes : bytes;
  slot.set(State::kDelta, header_bytes, bytes - header_bytes);
  return absl::OkStatus();
}

/// Removes the part when its header does not read.
Status find_part(FileSystem& files, const std::string& path, SpoolSlot& slot) {
  RUBATO_ASSIGN_OR_RETURN(const std::string bytes, files.read_range(path, 0, kMaxHeaderBytes));
  const auto header = parse_delta_header(path, bytes);
  if (!header.ok()) return files.remove_file(path);
  RUBATO_ASSIGN_OR_RETURN(const int64_t file_bytes, files.file_size(path));
  slot.set(State::kPart, header->bytes, file_bytes - header->bytes);
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<Spool>> Spool::open(FileSystem& files, const std::string& run_dir,
                                             SpoolOptions options) {
  const std::string directory = spool_directory(run_dir);
  RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
  if (options.keep) RUBATO_RETURN_IF_ERROR(files.make_directories(kept_directory(run_dir)));
  RUBATO_ASSIGN_OR_RETURN(DirectoryLock lock, files.lock_directory(directory));
  std::unique_ptr<Spool> spool(new Spool(files, run_dir, std::move(options), std::move(lock)));
  RUBATO_RETURN_IF_ERROR(spool->scan());
  return spool;
}

Status Spool::scan() {
  const std::string directory = spool_directory(run_dir_);
  RUBATO_ASSIGN_OR_RETURN(const auto entries, files_->list(directory));
  // Sorted by name, a task's .delta stands in front of its .part.
  for (const DirectoryEntry& entry : entries) {
    const std::string path = join_path(directory, entry.name);
    const TaskId delta(spool_delta_task(entry.name)), part(spool_part_task(entry.name));
    if (delta >= TaskId(0)) {
      auto slot = slots_[delta] = std::make_shared<SpoolSlot>();
      RUBATO_RETURN_IF_ERROR(find_delta(*files_, path, delta, *slot));
    } else if (slots_.contains(part)) {
      RUBATO_RETURN_IF_ERROR(files_->remove_file(path));
    } else if (part >= TaskId(0)) {
      auto slot = slots_[part] = std::make_shared<SpoolSlot>();
      RUBATO_RETURN_IF_ERROR(find_part(*files_, path, *slot));
    }
  }
  return absl::OkStatus();
}

StatusOr<SpoolUpload> Spool::begin(TaskId task, const DeltaMeta& meta) {
  RUBATO_RETURN_IF_ERROR(check_delta_meta(task, meta));
  std::shared_ptr<SpoolSlot> slot;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(slots_, [](const Slots::value_type& entry) {
      return entry.second->state == State::kEmpty && entry.second.use_count() == 1;
    });
    const auto there = slots_.find(task);
    const int64_t file_bytes =
        static_cast<int64_t>(encode_delta_header(task, meta).size()) + meta.bytes;
    if (there == slots_.end() || there->second->state != State::kDelta)
      RUBATO_RETURN_IF_ERROR(check_room(task, file_bytes));
    slot = there != slots_.end() ? there->second : std::make_shared<SpoolSlot>();
    slot->claimed_bytes = file_bytes;
    slots_[task] = slot;
  }
  return SpoolUpload::begin(*files_, run_dir_, task, meta, std::move(slot));
}

/// Whether quota and disk have room for a file of that size, beside the files of all other tasks as
/// long as they will be.
Status Spool::check_room(TaskId task, int64_t file_bytes) const {
  int64_t others = 0, still_to_come = file_bytes;
  for (const auto& [other, slot] : slots_) {
    if (other == task) {
      still_to_come -= slot->file_bytes();
    } else {
      others += slot->room_bytes();
      still_to_come += slot->room_bytes() - slot->file_bytes();
    }
  }
  const std::string who = cat("[spool] ", spool_directory(run_dir_), ": got ");
  if (options_.quota_bytes) {
    const int64_t quota = *options_.quota_bytes;
    if (file_bytes > quota)
      return absl::FailedPreconditionError(
          cat(who, "a delta of ", file_bytes, " bytes, want ", quota, " at most; raise the quota"));
    if (options_.other_use) others += options_.other_use();
    if (others > quota - file_bytes)
      return absl::ResourceExhaustedError(cat(who, others, " of ", quota,
                                              " bytes in use, want room for ", file_bytes,
                                              "; try again when deltas have been applied"));
  }
  RUBATO_ASSIGN_OR_RETURN(const int64_t available,
                          files_->available_bytes(spool_directory(run_dir_)));
  if (available - options_.reserve_bytes >= still_to_come) return absl::OkStatus();
  return absl::ResourceExhaustedError(cat(who, available, " bytes of free disk, want ",
                                          still_to_come, " for uploads and ",
                                          options_.reserve_bytes, " in reserve; free some space"));
}

int64_t Spool::arrived_bytes(TaskId task) const {
  const std::shared_ptr<SpoolSlot> slot = find(task);
  return slot == nullptr ? 0 : slot->payload_bytes.load();
}

std::shared_ptr<SpoolSlot> Spool::find(TaskId task) const {
  const std::lock_guard lock(mutex_);
  const auto it = slots_.find(task);
  return it == slots_.end() ? nullptr : it->second;
}

/// What this process has received has been checked on the way, and is not read twice for it.
StatusOr<SpooledDelta> Spool::read(TaskId task) const {
  const std::shared_ptr<SpoolSlot> slot = find(task);
  if (slot != nullptr && slot->verified) return open_delta(*files_, run_dir_, task);
  RUBATO_ASSIGN_OR_RETURN(SpooledDelta delta, open_sound_delta(*files_, run_dir_, task));
  if (slot != nullptr && slot->state == State::kDelta) slot->verified = true;
  return delta;
}

std::vector<SpoolEntry> Spool::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<SpoolEntry> entries;
  for (const auto& [task, slot] : slots_) {
    const State state = slot->state;
    if (state != State::kEmpty)
      entries.push_back({task, slot->file_bytes(), state == State::kDelta});
  }
  return entries;
}

int64_t Spool::bytes_used() const {
  const std::lock_guard lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [task, slot] : slots_) bytes += slot->file_bytes();
  return bytes;
}

Status Spool::remove(TaskId task) {
  const std::shared_ptr<SpoolSlot> slot = find(task);
  if (slot == nullptr) return absl::OkStatus();
  RUBATO_RETURN_IF_ERROR(take_away(task, *slot));
  return sync_kept();
}

Status Spool::trim(const std::set<TaskId>& needed) {
  Slots others;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [task, slot] : slots_) {
      if (!needed.contains(task) && slot->claimed_bytes == 0) others.emplace(task, slot);
    }
  }
  for (const auto& [task, slot] : others) RUBATO_RETURN_IF_ERROR(take_away(task, *slot));
  return others.empty() ? absl::OkStatus() : sync_kept();
}

Status Spool::take_away(TaskId task, SpoolSlot& slot) {
  const std::lock_guard lock(slot.mutex);
  ++slot.turn;
  slot.claimed_bytes = 0;
  const std::string delta = spool_delta_path(run_dir_, task);
  if (slot.state == State::kPart) {
    RUBATO_RETURN_IF_ERROR(files_->remove_file(spool_part_path(run_dir_, task)));
  } else if (slot.state == State::kDelta && options_.keep) {
    RUBATO_RETURN_IF_ERROR(files_->rename(delta, kept_delta_path(run_dir_, task)));
  } else if (slot.state == State::kDelta) {
    RUBATO_RETURN_IF_ERROR(files_->remove_file(delta));
  }
  slot.set(State::kEmpty, 0, 0);
  return absl::OkStatus();
}

/// The new names first, so that no crash leaves a kept delta without one.
Status Spool::sync_kept() {
  if (!options_.keep) return absl::OkStatus();
  RUBATO_RETURN_IF_ERROR(files_->sync_directory(kept_directory(run_dir_)));
  return files_->sync_directory(spool_directory(run_dir_));
}

}  // namespace rubato
