// One upload of a task's delta into the spool (spool.h): its bytes go straight to disk, their
// digest is taken on the way.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "rubato/base/digest.h"
#include "rubato/store/spool_file.h"

namespace rubato {

/// What the spool and all uploads of a task share.
struct SpoolSlot {
  enum class State { kEmpty, kPart, kDelta };

  std::mutex mutex;  // of the task's file, of `turn` and of all changes here
  int64_t turn = 0;  // uploads begun and removals; only the newest upload may write
  // Read without the mutex, by whoever counts what is there.
  std::atomic<State> state{State::kEmpty};
  std::atomic<int64_t> header_bytes{0}, payload_bytes{0};  // of the file; both 0 when kEmpty
  std::atomic<int64_t> claimed_bytes{0};  // that the file will have; 0 when no upload is open
  std::atomic<bool> verified{false};      // kDelta: this process has seen that its digest is right

  int64_t file_bytes() const { return header_bytes + payload_bytes; }
  int64_t room_bytes() const { return std::max(file_bytes(), claimed_bytes.load()); }
  void set(State new_state, int64_t header, int64_t payload) {
    verified = false;
    state = new_state;
    header_bytes = header;
    payload_bytes = payload;
  }
};

/// One thread at a time; the spool must outlive it. Dropped without commit(), what has come stays
/// and the next upload of the task goes on from there.
class SpoolUpload {
 public:
  SpoolUpload(SpoolUpload&&) = default;
  SpoolUpload& operator=(SpoolUpload&&) = delete;
  ~SpoolUpload();

  /// [bytes] of the payload that are here: where the next chunk begins.
  int64_t offset() const { return offset_; }
  /// InvalidArgument for a chunk that begins elsewhere than at offset() or reaches beyond what was
  /// announced: nothing has changed. Aborted when a later upload of the task has taken over, or it
  /// was removed. After an error of the disk this upload is over; the next one finds what is there.
  Status append(int64_t offset, std::string_view chunk);
  /// The delta survives a crash when this is OK; saying it again changes nothing. InvalidArgument
  /// when bytes are missing, DataLoss when the digest is not the announced one, or an error of the
  /// disk: the upload is removed, to be sent again from its start. Aborted as append().
  Status commit();

 private:
  friend class Spool;
  /// The newest upload of the slot's task; Spool::begin() says the rest.
  static StatusOr<SpoolUpload> begin(FileSystem& files, const std::string& run_dir, TaskId task,
                                     const DeltaMeta& meta, std::shared_ptr<SpoolSlot> slot);
  SpoolUpload(FileSystem& files, const std::string& run_dir, TaskId task, const DeltaMeta& meta,
              std::shared_ptr<SpoolSlot> slot);
  Status find_delta();
  StatusOr<bool> resume_part();
  Status start_over();
  Status check_turn() const;
  Status finish();
  void end();

  FileSystem* files_;
  TaskId task_;
  DeltaMeta meta_;
  std::string part_, delta_;  // paths
  std::shared_ptr<SpoolSlot> slot_;
  int64_t turn_ = 0;
  std::unique_ptr<WritableFile> file_;  // nullptr when nothing can be written (any more)
  std::unique_ptr<Digester> digester_;  // of what is here
  int64_t offset_ = 0;
};

}  // namespace rubato
