// What is refused and what is cut: every bit of a journal flipped, its records and segments
// replaced, repeated, moved and removed.
#include <algorithm>

#include "tests/store/journal_rig.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/file_names.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

/// Segments [0, 4) and [4, 9); the last sync wrote records 7 and 8.
void write_journal(MemoryFileSystem& files) {
  auto journal = open_journal(files);
  for (const int64_t count : {1, 3}) {
    ASSERT_TRUE(append_records(*journal, count).ok());
    ASSERT_TRUE(journal->sync().ok());
  }
  ASSERT_TRUE(journal->start_segment().ok());
  for (const int64_t count : {3, 2}) {
    ASSERT_TRUE(append_records(*journal, count).ok());
    ASSERT_TRUE(journal->sync().ok());
  }
}

/// [bytes] of the last `count` records before `end`.
int64_t frames_bytes(int64_t first, int64_t end) {
  int64_t bytes = 0;
  for (const std::string& record : tiny_records(first, end))
    bytes += kRecordHeaderBytes + static_cast<int64_t>(record.size());
  return bytes;
}

/// The bytes of the frames [first, end) that stand together in a segment whose last is `last`.
std::string frames(FileSystem& files, const std::string& path, int64_t first, int64_t end,
                   int64_t last) {
  const std::string all = files.read_file(path).value();
  return all.substr(all.size() - static_cast<size_t>(frames_bytes(first, last)),
                    static_cast<size_t>(frames_bytes(first, end)));
}

const std::string kFirst = journal_segment_path(kRun, 0);
const std::string kSecond = journal_segment_path(kRun, 4);

void expect_refused(MemoryFileSystem& files, const std::string& path, std::string_view why) {
  const Status reading = read_records(files).status();
  const Status opening = open_journal(files).status();
  EXPECT_EQ(reading, opening);
  EXPECT_TRUE(absl::IsDataLoss(opening)) << opening;
  EXPECT_THAT(std::string(opening.message()),
              HasSubstr(cat("[journal] ", path, ": got a damaged file: ")));
  EXPECT_THAT(std::string(opening.message()), HasSubstr(std::string(why)));
}

TEST(JournalDamage, AFlippedBitIsRefusedInTheMiddleAndCutAtTheEnd) {
  MemoryFileSystem whole;
  write_journal(whole);
  const int64_t last_write = frames_bytes(7, 9);
  for (const std::string& path : {kFirst, kSecond}) {
    const int64_t bytes = whole.file_size(path).value();
    for (int64_t at = 0; at < bytes; ++at) {
      MemoryFileSystem files;
      write_journal(files);
      files.corrupt(path, at, static_cast<char>(1 << (at % 8)));
      const auto journal = open_journal(files);
      if (path == kSecond && at >= bytes - last_write) {
        ASSERT_TRUE(journal.ok()) << at << ": " << journal.status();
        const int64_t kept = at >= bytes - frames_bytes(8, 9) ? 8 : 7;
        ASSERT_EQ(journal->next_index(), kept);
        ASSERT_EQ(journal->cut_bytes(), frames_bytes(kept, 9));
        ASSERT_EQ(*read_records(files), tiny_records(0, kept));
      } else if (at >= 8 && at < 12) {
        ASSERT_TRUE(absl::IsFailedPrecondition(journal.status())) << journal.status();
        ASSERT_THAT(std::string(journal.status().message()), HasSubstr(", want 1"));
      } else {
        ASSERT_TRUE(absl::IsDataLoss(journal.status())) << path << " " << at;
        ASSERT_THAT(std::string(journal.status().message()), HasSubstr(path));
        ASSERT_EQ(whole.file_size(path), files.file_size(path)) << "nothing is cut";
      }
    }
  }
}

TEST(JournalDamage, FileAndOffsetAreNamed) {
  MemoryFileSystem files;
  write_journal(files);
  const int64_t at = *files.file_size(kSecond) - frames_bytes(5, 9);
  files.corrupt(kSecond, at + 4, 1);
  expect_refused(files, kSecond,
                 cat("at byte ", at, ", want record 5: the record is not as it was written"));
}

TEST(JournalDamage, ATruncatedOlderSegmentIsRefused) {
  MemoryFileSystem files;
  write_journal(files);
  const std::string bytes = *files.read_file(kFirst);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_TRUE(files.replace_file(kFirst, bytes.substr(0, size)).ok());
    expect_refused(files, kFirst, "");
  }
}

TEST(JournalDamage, RecordsRepeatedMovedOrLeftOutAreRefused) {
  MemoryFileSystem files;
  write_journal(files);
  const std::string all = *files.read_file(kSecond);
  const std::string header = all.substr(0, all.size() - static_cast<size_t>(frames_bytes(4, 9)));
  const auto frame = [&](int64_t i) { return frames(files, kSecond, i, i + 1, 9); };
  const std::string four = frame(4), five = frame(5), six = frame(6),
                    rest = frames(files, kSecond, 7, 9, 9);
  const auto put = [&](const std::string& records) {
    ASSERT_TRUE(files.replace_file(kSecond, header + records).ok());
  };
  put(four + four + five + six + rest);
  expect_refused(files, kSecond, "want record 5: got record 4, which does not follow");
  put(four + six + rest);
  expect_refused(files, kSecond, "want record 5: got record 6, which does not follow");
  put(five + four + six + rest);
  expect_refused(files, kSecond, "want record 4: got record 5, which does not follow");
  put(four + five + six + rest + rest);
  expect_refused(files, kSecond, "want record 9: got record 7, which does not follow");
  put(four + five + six + rest);
  EXPECT_EQ(*read_records(files), tiny_records(0, 9));
}

TEST(JournalDamage, ARecordOfAnotherSegmentOrJournalDoesNotFit) {
  MemoryFileSystem files, others;
  write_journal(files);
  auto other = Journal::open(others, kRun, {"demo 2", "recipe", "layout"});
  ASSERT_TRUE(append_records(*other, 4).ok());
  ASSERT_TRUE(other->start_segment().ok());
  ASSERT_TRUE(append_records(*other, 5).ok());
  ASSERT_TRUE(other->sync().ok());
  std::string all = *files.read_file(kSecond);
  const size_t at = all.size() - static_cast<size_t>(frames_bytes(5, 9));
  const std::string stranger = frames(others, kSecond, 5, 6, 9);
  all.replace(at, stranger.size(), stranger);
  ASSERT_TRUE(files.replace_file(kSecond, all).ok());
  expect_refused(files, kSecond, cat("at byte ", at));
  ASSERT_TRUE(files.replace_file(kSecond, *others.read_file(kSecond)).ok());
  expect_refused(files, kSecond, "the segment does not continue the one before it");
}

// Two pasts of one run: the same numbers, other records.
TEST(JournalDamage, ARecordOrSegmentOfAnotherPastDoesNotFit) {
  MemoryFileSystem files, others;
  write_journal(files);
  auto other = open_journal(others);
  ASSERT_TRUE(other->append("another past").ok());
  ASSERT_TRUE(append_records(*other, 3).ok());
  ASSERT_TRUE(other->start_segment().ok());
  ASSERT_TRUE(append_records(*other, 5).ok());
  ASSERT_TRUE(other->sync().ok());
  const std::string second = *files.read_file(kSecond);
  ASSERT_TRUE(files.replace_file(kSecond, *others.read_file(kSecond)).ok());
  expect_refused(files, kSecond, "the segment does not continue the one before it");
  ASSERT_TRUE(files.replace_file(kSecond, second).ok());
  std::string first = *files.read_file(kFirst);
  const std::string stranger = frames(others, kFirst, 1, 2, 4);
  first.replace(first.size() - static_cast<size_t>(frames_bytes(1, 4)), stranger.size(), stranger);
  ASSERT_TRUE(files.replace_file(kFirst, first).ok());
  expect_refused(files, kFirst, "want record 1: got record 1, which does not follow");
}

TEST(JournalDamage, AMissingSegmentIsRefused) {
  MemoryFileSystem files;
  write_journal(files);
  auto journal = open_journal(files);
  ASSERT_TRUE(journal->start_segment().ok());
  ASSERT_TRUE(append_records(*journal, 1).ok());
  ASSERT_TRUE(journal->sync().ok());
  close(journal);
  ASSERT_TRUE(files.remove_file(kSecond).ok());
  expect_refused(files, kFirst, "want record 4: there is no segment of that name");
}

TEST(JournalDamage, ASegmentUnderAnotherNameIsRefused) {
  MemoryFileSystem files;
  write_journal(files);
  ASSERT_TRUE(files.rename(kSecond, journal_segment_path(kRun, 5)).ok());
  expect_refused(files, kFirst, "there is no segment of that name");
  ASSERT_TRUE(files.remove_file(kFirst).ok());
  expect_refused(files, journal_segment_path(kRun, 5), "its header is that of record 4");
}

TEST(JournalDamage, AnUnknownFormatIsRefusedByName) {
  MemoryFileSystem files;
  BinaryFormat later = kJournalFormat;
  later.version = 3;
  SegmentHeader header{tiny_identity(), 0, 0};
  ASSERT_TRUE(files.make_directories("run/journal").ok());
  ASSERT_TRUE(files.replace_file(kFirst, encode_header(later, to_archive(header))).ok());
  const Status status = open_journal(files).status();
  EXPECT_EQ(status,
            absl::FailedPreconditionError(cat("[journal] ", kFirst, ": got format 3, want 1")));
}

// Bytes of a record may look like a record; only the real ones have the seed of the segment.
TEST(JournalDamage, ATornRecordThatHoldsRecordsIsCut) {
  MemoryFileSystem files;
  auto journal = open_journal(files);
  std::string forged = "text ";
  append_frame(forged, 0, {10, 10, 0, 0, "forged"});
  ASSERT_TRUE(journal->append(forged).ok());
  ASSERT_TRUE(journal->sync().ok());
  close(journal);
  files.corrupt(kFirst, *files.file_size(kFirst) - static_cast<int64_t>(forged.size()), 1);
  journal = open_journal(files);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ(journal->next_index(), 0);
}

// The magic of a record on the border of the windows in which a damaged segment is searched.
TEST(JournalDamage, IsFoundWhereverTheNextWriteBegins) {
  const int64_t window = 1 << 20;
  for (int64_t shift = -2 * kRecordHeaderBytes; shift <= kRecordHeaderBytes; shift += 4) {
    MemoryFileSystem files;
    auto journal = open_journal(files);
    const std::string big(static_cast<size_t>(window - kRecordHeaderBytes + shift), 'x');
    for (const std::string& record : {big, std::string("behind it")}) {
      ASSERT_TRUE(journal->append(record).ok());
      ASSERT_TRUE(journal->sync().ok());
    }
    close(journal);
    files.corrupt(kFirst, 1000, 1);
    ASSERT_TRUE(absl::IsDataLoss(open_journal(files).status())) << shift;
  }
}

}  // namespace
}  // namespace rubato
