#include "rubato/store/journal_segment.h"

#include <algorithm>
#include <cstring>

#include "rubato/base/digest.h"
#include "rubato/store/file_names.h"

namespace rubato {
namespace {

constexpr std::string_view kRecordMagic = "RJr\x1e";  // ends with ASCII's record separator
/// [bytes] searched at a time.
constexpr int64_t kWindowBytes = 1 << 20;

/// What stands between the magic and the record's bytes.
struct FrameFields {
  uint32_t length = 0;
  int64_t index = 0, synced = 0;
  uint64_t previous = 0, checksum = 0;
  template <class A>
  void archive(A& a) {
    a(length, index, synced, previous, checksum);
  }
};

/// The checksum stands in the middle, so it covers what is before it and seeds what is behind it.
uint64_t frame_checksum(uint64_t seed, std::string_view before, std::string_view bytes) {
  return checksum_of(bytes, checksum_of(before, seed));
}

constexpr size_t kBeforeChecksum = kRecordHeaderBytes - sizeof(uint64_t);

/// Fields that a frame's first bytes can have; nothing otherwise.
std::optional<FrameFields> parse_fields(std::string_view bytes) {
  FrameFields fields;
  if (bytes.size() < kRecordHeaderBytes || !bytes.starts_with(kRecordMagic)) return std::nullopt;
  const size_t begin = kRecordMagic.size();
  if (!from_archive(bytes.substr(begin, kRecordHeaderBytes - begin), fields).ok() ||
      fields.length > kMaxRecordBytes || fields.synced < 0 || fields.synced > fields.index)
    return std::nullopt;
  return fields;
}

}  // namespace

std::string encode_segment_header(SegmentHeader header) {
  return encode_header(kJournalFormat, to_archive(header));
}

StatusOr<BinaryHeader> parse_segment_header(std::string_view path, std::string_view file_bytes,
                                            SegmentHeader& header) {
  RUBATO_ASSIGN_OR_RETURN(const BinaryHeader parsed,
                          parse_header_as(kJournalFormat, path, file_bytes, header));
  if (header.first < 0)
    return damaged_file(kJournalFormat, path, cat("its first record is number ", header.first));
  return parsed;
}

uint64_t append_frame(std::string& out, uint64_t seed, const RecordFrame& record) {
  ArchiveWriter writer;
  FrameFields fields{static_cast<uint32_t>(record.bytes.size()), record.index, record.synced,
                     record.previous, 0};
  writer.bytes = kRecordMagic;
  writer(fields);
  fields.checksum =
      frame_checksum(seed, std::string_view(writer.bytes).substr(0, kBeforeChecksum), record.bytes);
  std::memcpy(writer.bytes.data() + kBeforeChecksum, &fields.checksum, sizeof fields.checksum);
  out += writer.bytes;
  out += record.bytes;
  return fields.checksum;
}

std::optional<int64_t> frame_bytes(std::string_view bytes) {
  const auto fields = parse_fields(bytes);
  if (!fields) return std::nullopt;
  return kRecordHeaderBytes + int64_t{fields->length};
}

std::optional<RecordFrame> parse_frame(uint64_t seed, std::string_view bytes) {
  const auto fields = parse_fields(bytes);
  if (!fields || bytes.size() < static_cast<size_t>(kRecordHeaderBytes) + fields->length)
    return std::nullopt;
  const RecordFrame record{fields->index, fields->synced, fields->previous, fields->checksum,
                           bytes.substr(kRecordHeaderBytes, fields->length)};
  if (frame_checksum(seed, bytes.substr(0, kBeforeChecksum), record.bytes) != record.checksum)
    return std::nullopt;
  return record;
}

StatusOr<bool> holds_record_after(FileSystem& files, const std::string& path, uint64_t seed,
                                  int64_t offset, int64_t index) {
  for (;; offset += kWindowBytes) {
    // Windows overlap by a frame's header, which may lie across their border.
    RUBATO_ASSIGN_OR_RETURN(const std::string window,
                            files.read_range(path, offset, kWindowBytes + kRecordHeaderBytes));
    const std::string_view bytes = window;
    for (size_t at = bytes.find(kRecordMagic); at != std::string_view::npos;
         at = bytes.find(kRecordMagic, at + 1)) {
      const auto fields = parse_fields(bytes.substr(at));
      if (!fields || fields->synced <= index) continue;
      RUBATO_ASSIGN_OR_RETURN(const std::string frame,
                              files.read_range(path, offset + static_cast<int64_t>(at),
                                               kRecordHeaderBytes + int64_t{fields->length}));
      if (parse_frame(seed, frame)) return true;
    }
    if (static_cast<int64_t>(bytes.size()) < kWindowBytes + kRecordHeaderBytes) return false;
  }
}

StatusOr<std::vector<int64_t>> journal_segments(FileSystem& files, const std::string& run_dir) {
  std::vector<int64_t> segments;
  const auto entries = files.list(journal_directory(run_dir));
  if (absl::IsNotFound(entries.status())) return segments;
  if (!entries.ok()) return entries.status();
  for (const DirectoryEntry& entry : *entries) {
    if (const int64_t index = journal_segment_index(entry.name); index >= 0)
      segments.push_back(index);
  }
  std::ranges::sort(segments);
  return segments;
}

}  // namespace rubato
