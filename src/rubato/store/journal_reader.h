// Reads a run's journal from any record on, a window at a time, also while another process writes
// it: the end is the last whole record, and whoever asks again later gets what has come meanwhile.
// (What a writer has not synced yet may be seen and be gone after a power cut.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "rubato/store/journal_segment.h"

namespace rubato {

struct JournalRecord {
  int64_t index = 0;
  std::string_view bytes;  // valid until the reader is asked again
};

class JournalReader {
 public:
  /// From record `index` on; from the first that is left when absent. NotFound when there is no
  /// journal, OutOfRange when the record was trimmed or has not been written yet; the errors of
  /// next().
  static StatusOr<JournalReader> open(FileSystem& files, const std::string& run_dir,
                                      std::optional<int64_t> index);

  /// The next whole record, or nothing for now. DataLoss with file and offset for damage anywhere
  /// but in what may be a torn write, and for a record that is missing, repeated or out of place;
  /// FailedPrecondition for an unknown format; NotFound when a writer trims what is being read.
  StatusOr<std::optional<JournalRecord>> next();

  /// Of the segment that is being read, which all others agree with.
  const JournalIdentity& identity() const { return identity_; }

 private:
  friend class Journal;
  JournalReader(FileSystem& files, std::string run_dir)
      : files_(&files), run_dir_(std::move(run_dir)) {}
  /// Goes to the segment whose first record has that index, as told by its name.
  StatusOr<SegmentHeader> enter(int64_t first);
  StatusOr<std::optional<RecordFrame>> frame_here();
  StatusOr<bool> something_follows();
  Status go_to_next_segment();
  StatusOr<JournalRecord> take(const RecordFrame& frame);
  Status damage(std::string_view what) const;

  FileSystem* files_;
  std::string run_dir_;
  JournalIdentity identity_;
  std::string path_;       // of the segment
  int64_t first_ = 0;      // index of its first record
  uint64_t seed_ = 0;      // of its checksums
  int64_t offset_ = 0;     // [bytes] where the next record begins
  int64_t next_ = 0;       // its index
  uint64_t previous_ = 0;  // checksum of the record before it
  std::string window_;     // bytes of the file from window_begin_ on
  int64_t window_begin_ = 0;
};

}  // namespace rubato
