// The bytes of the journal: a segment is a header and the records behind it. Pure functions over
// bytes; grammar in docs/formats.md.
//   segment = header record*
//   record  = magic length index synced previous checksum bytes
// A record names the checksum of the one before it, across segments too, and its own is seeded with
// its segment's header: one that was replaced, repeated, moved or left out does not fit. `synced`
// says how many records were on disk when this one was written; so what is broken and has a record
// behind it that took it for synced is damage, and anything else at the end is a torn write.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/store/binary_header.h"
#include "rubato/store/file_system.h"

namespace rubato {

/// What a journal belongs to: any text that tells two runs, recipes, layouts apart.
struct JournalIdentity {
  std::string run, recipe_digest, layout_digest;
  friend bool operator==(const JournalIdentity&, const JournalIdentity&) = default;
  template <class A>
  void archive(A& a) {
    a(run, recipe_digest, layout_digest);
  }
};

struct SegmentHeader {
  JournalIdentity identity;
  int64_t first = 0;      // index of the first record
  uint64_t previous = 0;  // checksum of the record before it; 0 for record 0
  template <class A>
  void archive(A& a) {
    a(identity, first, previous);
  }
};

inline constexpr BinaryFormat kJournalFormat{"RBTOJRNL", "journal", 1};

/// [bytes] of one record at most.
inline constexpr int64_t kMaxRecordBytes = 16 * 1024 * 1024;
/// [bytes] in front of a record's own.
inline constexpr int64_t kRecordHeaderBytes = 40;

std::string encode_segment_header(SegmentHeader header);
/// Errors as parse_header; DataLoss too for indices that cannot be.
StatusOr<BinaryHeader> parse_segment_header(std::string_view path, std::string_view file_bytes,
                                            SegmentHeader& header);

struct RecordFrame {
  int64_t index = 0;
  int64_t synced = 0;  // records below it were on disk when this one was written; <= index
  uint64_t previous = 0;
  uint64_t checksum = 0;
  std::string_view bytes;
  int64_t frame_bytes() const { return kRecordHeaderBytes + static_cast<int64_t>(bytes.size()); }
};

/// Appends the frame of a record, whose checksum is ignored, and returns its checksum. `seed` is
/// the checksum of the segment's header.
uint64_t append_frame(std::string& out, uint64_t seed, const RecordFrame& record);

/// [bytes] of the frame that `bytes` begin with, as far as one can tell: from its first
/// kRecordHeaderBytes. Nothing when no frame begins like this.
std::optional<int64_t> frame_bytes(std::string_view bytes);

/// The record whose frame `bytes` begin with; nothing when it is truncated or damaged.
std::optional<RecordFrame> parse_frame(uint64_t seed, std::string_view bytes);

/// Whether the file holds, anywhere from `offset` on, a whole record that was written when record
/// `index` was on disk.
StatusOr<bool> holds_record_after(FileSystem& files, const std::string& path, uint64_t seed,
                                  int64_t offset, int64_t index);

/// First indices of a run's segments, ascending; empty when there is no journal.
StatusOr<std::vector<int64_t>> journal_segments(FileSystem& files, const std::string& run_dir);

}  // namespace rubato
