// Uploads on disk: RUN/spool holds every delta from its first byte until the run has no use for it
// any more, so the memory of a server does not grow with its workers. An upload that broke goes on
// where it stopped; one that is committed survives any crash. What the bytes mean is the codec's
// business. Names: file_names.h; bytes and reading: spool_file.h; writing: spool_upload.h.
// Thread-safe: several uploads at once, a thread each; none waits for the disk work of another.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "rubato/store/spool_file.h"
#include "rubato/store/spool_upload.h"

namespace rubato {

struct SpoolOptions {
  /// [bytes] that the spool and `other_use` may take together; absent: as the disk allows.
  std::optional<int64_t> quota_bytes;
  /// [bytes] of the disk that no upload may take: for journal, checkpoints and versions.
  int64_t reserve_bytes = int64_t{256} << 20;
  /// [bytes] on disk that count against the quota too, asked whenever an upload begins, by its
  /// thread; it must not call the spool. Empty: none.
  std::function<int64_t()> other_use;
  /// Moves finished deltas to RUN/kept instead of removing them, to be replayed. Those are not part
  /// of the quota.
  bool keep = false;
};

struct SpoolEntry {
  TaskId task;
  int64_t bytes = 0;  // of its file
  bool complete = false;
  friend bool operator==(const SpoolEntry&, const SpoolEntry&) = default;
};

class Spool {
 public:
  /// Finds what is there; a part whose header is damaged is removed, since nobody can go on with
  /// it. FailedPrecondition when another process has it open. `files` must outlive the spool.
  static StatusOr<std::unique_ptr<Spool>> open(FileSystem& files, const std::string& run_dir,
                                               SpoolOptions options);

  /// Begins the upload of a task's delta, or goes on with a part that announced the same; a part of
  /// another is replaced. An upload of the task that is open elsewhere ends with this: its
  /// connection may have died unnoticed. A delta that is complete is an upload whose offset() is
  /// its end; one that is damaged makes room for a new one.
  /// ResourceExhausted when quota or disk have no room now: nothing is lost, try again later.
  /// FailedPrecondition when it is larger than the quota. InvalidArgument as check_delta_meta.
  /// AlreadyExists when a complete delta of the task announced something else: remove() it first,
  /// if nobody has booked it.
  StatusOr<SpoolUpload> begin(TaskId task, const DeltaMeta& meta);

  /// [bytes] of the payload that are here: where an upload would go on. 0 for an unknown task.
  int64_t arrived_bytes(TaskId task) const;
  /// The finished delta, kept ones too. One that another process has left is checked when it is
  /// first read. Errors as open_sound_delta.
  StatusOr<SpooledDelta> read(TaskId task) const;
  /// By task.
  std::vector<SpoolEntry> list() const;
  /// [bytes] in RUN/spool.
  int64_t bytes_used() const;

  /// The task's delta or part is gone, or kept if it is complete and the options say so; an upload
  /// of it that is open ends. OK when there is none. A crash may bring it back.
  Status remove(TaskId task);
  /// Removes likewise what is of other tasks than these, but no upload that is open.
  Status trim(const std::set<TaskId>& needed);

 private:
  using Slots = std::map<TaskId, std::shared_ptr<SpoolSlot>>;
  Spool(FileSystem& files, std::string run_dir, SpoolOptions options, DirectoryLock lock)
      : files_(&files),
        run_dir_(std::move(run_dir)),
        options_(std::move(options)),
        lock_(std::move(lock)) {}
  Status scan();
  std::shared_ptr<SpoolSlot> find(TaskId task) const;
  Status check_room(TaskId task, int64_t file_bytes) const;
  Status take_away(TaskId task, SpoolSlot& slot);
  Status sync_kept();

  FileSystem* files_;
  std::string run_dir_;
  SpoolOptions options_;
  DirectoryLock lock_;
  mutable std::mutex mutex_;  // of the map; nobody waits for a slot's mutex under it
  Slots slots_;
};

}  // namespace rubato
