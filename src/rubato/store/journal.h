// The write-ahead log of a run on a cluster: opaque records in RUN/journal, numbered from 0. A
// record that sync() has acknowledged survives any crash, in its place, once; of later ones a
// prefix may. It knows nothing of what the records say. Bytes: journal_segment.h, docs/formats.md;
// reading: journal_reader.h. One writer per run, one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/store/file_system.h"
#include "rubato/store/journal_segment.h"

namespace rubato {

class Journal {
 public:
  /// Begins a journal, or goes on with the one that is there: everything in it is read and checked,
  /// a torn write at its end is cut off, and what is left is synced. Errors of JournalReader; and
  /// FailedPrecondition when somebody else writes it or it is of another run. `files` must outlive
  /// the journal.
  static StatusOr<Journal> open(FileSystem& files, const std::string& run_dir,
                                const JournalIdentity& identity);

  /// Begins a journal anew, whose first record is number `first`; whatever was there goes, of any
  /// run. A crash leaves any part of that, which only calling this again puts right.
  static StatusOr<Journal> begin(FileSystem& files, const std::string& run_dir,
                                 const JournalIdentity& identity, int64_t first);

  /// Takes the record into memory and returns its index. InvalidArgument when it is longer than
  /// kMaxRecordBytes.
  StatusOr<int64_t> append(std::string_view record);
  /// On disk is all that was appended: one write and one sync for any number of records. After an
  /// error nobody knows what is in the file: this and everything but trimming is refused from then
  /// on with FailedPrecondition, and whoever opens the journal next finds out.
  Status sync();
  /// Syncs and goes on in a new segment, so that what is older can be trimmed; at a snapshot.
  Status start_segment();
  /// Removes whole segments whose records are all below `index`, oldest first, never the last one.
  /// An error leaves the journal usable.
  Status trim_before(int64_t index);

  /// Index of the first record that is kept; that of the next one; records below are on disk.
  int64_t first_index() const { return segments_.front(); }
  int64_t next_index() const { return next_; }
  int64_t synced_index() const { return synced_; }
  /// [bytes] of a torn write that open() cut off.
  int64_t cut_bytes() const { return cut_bytes_; }

 private:
  Journal(FileSystem& files, std::string run_dir, JournalIdentity identity, DirectoryLock lock);
  Status recover();
  Status begin_segment();
  Status write_pending();
  /// Refuses everything from now on if this is an error.
  Status remember(const Status& status);

  FileSystem* files_;
  std::string run_dir_;
  JournalIdentity identity_;
  DirectoryLock lock_;
  std::vector<int64_t> segments_;  // first indices, ascending
  std::unique_ptr<WritableFile> file_;
  uint64_t seed_ = 0;      // of the last segment's checksums
  uint64_t previous_ = 0;  // checksum of the last record
  std::string pending_;    // frames that are not in the file yet
  int64_t next_ = 0, synced_ = 0;
  int64_t cut_bytes_ = 0;
  Status failed_;
};

}  // namespace rubato
