#include "rubato/store/journal_reader.h"

#include <algorithm>

#include "rubato/store/file_names.h"

namespace rubato {
namespace {

/// [bytes] read at a time.
constexpr int64_t kWindowBytes = 1 << 20;

Status out_of_range(std::string_view run_dir, int64_t index, std::string_view want) {
  return absl::OutOfRangeError(
      cat("[journal] ", journal_directory(run_dir), ": got record ", index, ", want ", want));
}

}  // namespace

Status JournalReader::damage(std::string_view what) const {
  return damaged_file(kJournalFormat, path_,
                      cat("at byte ", offset_, ", want record ", next_, ": ", what));
}

StatusOr<JournalReader> JournalReader::open(FileSystem& files, const std::string& run_dir,
                                            std::optional<int64_t> index) {
  RUBATO_ASSIGN_OR_RETURN(const auto segments, journal_segments(files, run_dir));
  if (segments.empty())
    return absl::NotFoundError(
        cat("[journal] ", journal_directory(run_dir), ": got no segment, want a journal"));
  const int64_t want = index.value_or(segments.front());
  const auto behind = std::ranges::upper_bound(segments, want);
  if (behind == segments.begin())
    return out_of_range(run_dir, want, cat(segments.front(), " or later; older ones were trimmed"));
  JournalReader reader(files, run_dir);
  RUBATO_ASSIGN_OR_RETURN(const SegmentHeader header, reader.enter(*std::prev(behind)));
  reader.identity_ = header.identity;
  reader.previous_ = header.previous;
  while (reader.next_ < want) {
    RUBATO_ASSIGN_OR_RETURN(const auto record, reader.next());
    if (!record)
      return out_of_range(run_dir, want, cat(reader.next_, " at most, where the journal ends"));
  }
  return reader;
}

StatusOr<SegmentHeader> JournalReader::enter(int64_t first) {
  path_ = journal_segment_path(run_dir_, first);
  offset_ = 0;
  window_.clear();
  RUBATO_ASSIGN_OR_RETURN(const std::string bytes, files_->read_range(path_, 0, kMaxHeaderBytes));
  SegmentHeader header;
  RUBATO_ASSIGN_OR_RETURN(const BinaryHeader parsed, parse_segment_header(path_, bytes, header));
  if (header.first != first) return damage(cat("its header is that of record ", header.first));
  first_ = next_ = first;
  seed_ = parsed.checksum;
  offset_ = parsed.bytes;
  return header;
}

StatusOr<std::optional<JournalRecord>> JournalReader::next() {
  while (true) {
    RUBATO_ASSIGN_OR_RETURN(auto frame, frame_here());
    if (!frame) {
      // A writer beside us may be in the middle of this record. If something stands behind it, the
      // record was whole before that was begun, so it must be readable now.
      RUBATO_ASSIGN_OR_RETURN(const bool follows, something_follows());
      window_.clear();
      if (!follows) return std::optional<JournalRecord>();
      RUBATO_ASSIGN_OR_RETURN(frame, frame_here());
    }
    if (frame) return take(*frame);
    RUBATO_RETURN_IF_ERROR(go_to_next_segment());
  }
}

/// The record at offset_, if it is whole.
StatusOr<std::optional<RecordFrame>> JournalReader::frame_here() {
  for (int64_t want = kRecordHeaderBytes;;) {
    const auto rest = [&] {
      return std::string_view(window_).substr(
          std::min(static_cast<size_t>(offset_ - window_begin_), window_.size()));
    };
    if (static_cast<int64_t>(rest().size()) < want) {
      RUBATO_ASSIGN_OR_RETURN(window_,
                              files_->read_range(path_, offset_, std::max(want, kWindowBytes)));
      window_begin_ = offset_;
    }
    if (static_cast<int64_t>(rest().size()) < want) return std::optional<RecordFrame>();
    const auto bytes = frame_bytes(rest());
    if (!bytes || *bytes <= static_cast<int64_t>(rest().size())) return parse_frame(seed_, rest());
    want = *bytes;
  }
}

/// Whether the writer went on behind the record at offset_: it does so only when that one is
/// synced, or ends the segment.
StatusOr<bool> JournalReader::something_follows() {
  RUBATO_ASSIGN_OR_RETURN(const auto segments, journal_segments(*files_, run_dir_));
  if (!segments.empty() && segments.back() > first_) return true;
  return holds_record_after(*files_, path_, seed_, offset_, next_);
}

Status JournalReader::go_to_next_segment() {
  RUBATO_ASSIGN_OR_RETURN(const int64_t bytes, files_->file_size(path_));
  if (bytes != offset_) return damage("the record is not as it was written");
  RUBATO_ASSIGN_OR_RETURN(const auto segments, journal_segments(*files_, run_dir_));
  if (next_ == first_ || !std::ranges::binary_search(segments, next_))
    return damage("there is no segment of that name, but later ones");
  RUBATO_ASSIGN_OR_RETURN(const SegmentHeader header, enter(next_));
  if (header.previous != previous_ || header.identity != identity_)
    return damage("the segment does not continue the one before it");
  return absl::OkStatus();
}

StatusOr<JournalRecord> JournalReader::take(const RecordFrame& frame) {
  if (frame.index != next_ || frame.previous != previous_)
    return damage(cat("got record ", frame.index, ", which does not follow the one before it"));
  offset_ += frame.frame_bytes();
  next_ += 1;
  previous_ = frame.checksum;
  return JournalRecord{frame.index, frame.bytes};
}

}  // namespace rubato
