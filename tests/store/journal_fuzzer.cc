// libFuzzer over a journal of one segment. The first byte says what the rest is: the whole file;
// what stands behind a right header; or a script of frames with right checksums and any fields.
// Reading and opening agree; what was read is there again after opening, and the journal goes on.
#include "tests/fuzz/fuzzing.h"
#include "tests/store/journal_rig.h"

#include "rubato/store/file_names.h"

namespace rubato {
namespace {

const std::string kPath = journal_segment_path(kRun, 0);

/// Frames that follow each other but for what the script says: three bytes a record, its length,
/// which field is wrong and by how much; then its bytes.
std::string scripted_frames(uint64_t seed, std::string_view script) {
  std::string out;
  RecordFrame frame;
  while (script.size() >= 3) {
    const auto length = static_cast<uint8_t>(script[0]);
    const auto field = static_cast<uint8_t>(script[1]);
    const int64_t off = static_cast<int8_t>(script[2]);
    script.remove_prefix(3);
    RecordFrame next = frame;
    next.bytes = script.substr(0, length);
    script.remove_prefix(next.bytes.size());
    if (field % 8 == 1) next.index += off;
    if (field % 8 == 2) next.synced += off;
    if (field % 8 == 3) next.previous += static_cast<uint64_t>(off);
    if (field % 8 == 4) frame.synced = frame.index;
    const size_t begin = out.size();
    frame.previous = append_frame(out, seed, next);
    if (field % 8 == 5) out[begin + static_cast<uint8_t>(off) % (out.size() - begin)] ^= 1;
    ++frame.index;
  }
  return out;
}

/// Everything up to the end or the first error.
Status read_on(JournalReader& reader, std::vector<std::string>& records) {
  while (true) {
    RUBATO_ASSIGN_OR_RETURN(const auto record, reader.next());
    if (!record) return absl::OkStatus();
    RUBATO_CHECK(record->index == static_cast<int64_t>(records.size()), record->index);
    records.emplace_back(record->bytes);
  }
}

void check(MemoryFileSystem& files) {
  auto reader = JournalReader::open(files, kRun, {});
  std::vector<std::string> records;
  Status status = reader.status();
  if (reader.ok()) status = read_on(*reader, records);
  const JournalIdentity identity = reader.ok() ? reader->identity() : tiny_identity();
  auto journal = Journal::open(files, kRun, identity);
  RUBATO_CHECK(journal.status() == status, journal.status().ToString(), status.ToString());
  if (!status.ok()) return check_error(status, kPath);

  RUBATO_CHECK(journal->next_index() == static_cast<int64_t>(records.size()), "lost records");
  records.push_back("one more");
  RUBATO_CHECK(journal->append(records.back()).ok() && journal->sync().ok(), "cannot go on");
  RUBATO_CHECK(read_records(files).value() == records, "other records");
  if (identity == tiny_identity()) return;
  close(journal);
  check_error(open_journal(files).status(), kPath);
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  if (size == 0) return 0;
  const std::string_view rest = as_text(data + 1, size - 1);
  const std::string header = encode_segment_header({tiny_identity(), 0, 0});
  SegmentHeader parsed;
  const uint64_t seed = parse_segment_header("header", header, parsed)->checksum;
  std::string file(rest);
  if (data[0] % 3 == 1) file = cat(header, rest);
  if (data[0] % 3 == 2) file = cat(header, scripted_frames(seed, rest));
  MemoryFileSystem files;
  RUBATO_CHECK(files.make_directories(journal_directory(kRun)).ok(), "a directory in memory");
  RUBATO_CHECK(files.replace_file(kPath, file).ok(), "a file in memory");
  check(files);
  return 0;
}
