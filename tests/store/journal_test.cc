#include "rubato/store/journal.h"

#include <thread>

#include "tests/store/journal_rig.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/file_names.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string message(const Status& status) { return std::string(status.message()); }

TEST(Journal, WhatIsSyncedIsReadInOrder) {
  MemoryFileSystem files;
  auto journal = open_journal(files);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ(journal->append("one").value(), 0);
  EXPECT_EQ(journal->append("").value(), 1);
  EXPECT_THAT(*read_records(files), IsEmpty()) << "nothing is written before sync()";
  EXPECT_EQ(journal->synced_index(), 0);
  ASSERT_TRUE(journal->sync().ok());
  EXPECT_EQ(journal->synced_index(), 2);
  EXPECT_EQ(journal->append("three").value(), 2);
  ASSERT_TRUE(journal->sync().ok());
  EXPECT_THAT(*read_records(files), ElementsAre("one", "", "three"));
  EXPECT_THAT(*read_records(files, 2), ElementsAre("three"));
  EXPECT_THAT(*read_records(files, 3), IsEmpty());
  EXPECT_EQ(files.list("run/journal")->size(), 1u);
}

TEST(Journal, AnyNumberOfRecordsIsOneWriteAndOneSync) {
  MemoryFileSystem files;
  auto journal = open_journal(files);
  ASSERT_TRUE(append_records(*journal, 100).ok());
  const int64_t work = files.work_done();
  const int64_t bytes = *files.file_size("run/journal/segment-000000000000");
  ASSERT_TRUE(journal->sync().ok());
  const int64_t written = *files.file_size("run/journal/segment-000000000000") - bytes;
  EXPECT_EQ(files.work_done() - work, written + 1) << "a unit a byte and one for the sync";
  ASSERT_TRUE(journal->sync().ok());
  EXPECT_EQ(files.work_done() - work, written + 1) << "nothing to do, nothing done";
}

TEST(Journal, GoesOnWhereItStopped) {
  MemoryFileSystem files;
  {
    auto journal = open_journal(files);
    ASSERT_TRUE(append_records(*journal, 4).ok());
    ASSERT_TRUE(journal->start_segment().ok());
    ASSERT_TRUE(append_records(*journal, 3).ok());
    ASSERT_TRUE(journal->sync().ok());
    ASSERT_TRUE(append_records(*journal, 2).ok());  // never synced
  }
  auto journal = open_journal(files);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ(journal->next_index(), 7);
  EXPECT_EQ(journal->synced_index(), 7);
  EXPECT_EQ(journal->cut_bytes(), 0);
  ASSERT_TRUE(append_records(*journal, 2).ok());
  ASSERT_TRUE(journal->sync().ok());
  EXPECT_EQ(*read_records(files), tiny_records(0, 9));
}

TEST(Journal, BegunAnewHasNothingOfTheOldOne) {
  MemoryFileSystem files;
  {
    auto journal = open_journal(files);
    ASSERT_TRUE(append_records(*journal, 4).ok());
    ASSERT_TRUE(journal->start_segment().ok());
    ASSERT_TRUE(append_records(*journal, 4).ok());
    ASSERT_TRUE(journal->sync().ok());
    EXPECT_FALSE(Journal::begin(files, kRun, tiny_identity(), 3).ok()) << "somebody writes it";
  }
  JournalIdentity next = tiny_identity();
  next.run = "demo 2";
  {
    auto journal = Journal::begin(files, kRun, next, 3);
    ASSERT_TRUE(journal.ok()) << journal.status();
    EXPECT_EQ(journal->append("three again").value(), 3);
    ASSERT_TRUE(journal->sync().ok());
  }
  files.restart(CrashKeeps::kNothing);
  EXPECT_FALSE(open_journal(files).ok()) << "it is another run's";
  auto journal = Journal::open(files, kRun, next);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ(journal->first_index(), 3);
  EXPECT_EQ(journal->next_index(), 4);
  EXPECT_THAT(*read_records(files), ElementsAre("three again"));
}

TEST(Journal, TrimmingRemovesWholeSegmentsAndKeepsWhatIsNeeded) {
  MemoryFileSystem files;
  auto journal = open_journal(files);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(append_records(*journal, 3).ok());
    ASSERT_TRUE(journal->start_segment().ok());
    ASSERT_TRUE(journal->start_segment().ok()) << "an empty one is not followed by another";
  }
  EXPECT_EQ(journal_segments(files, kRun).value(), (std::vector<int64_t>{0, 3, 6, 9, 12}));
  ASSERT_TRUE(journal->trim_before(5).ok());
  EXPECT_EQ(journal->first_index(), 3);
  EXPECT_EQ(*read_records(files), tiny_records(3, 12));
  EXPECT_EQ(*read_records(files, 5), tiny_records(5, 12));
  EXPECT_EQ(message(read_records(files, 2).status()),
            "[journal] run/journal: got record 2, want 3 or later; older ones were trimmed");
  ASSERT_TRUE(journal->trim_before(1000).ok());
  EXPECT_EQ(journal->first_index(), 12) << "the last one stays";
  close(journal);
  journal = open_journal(files);
  EXPECT_EQ(journal->next_index(), 12) << "the number goes on though no record is left";
  EXPECT_EQ(message(read_records(files, 13).status()),
            "[journal] run/journal: got record 13, want 12 at most, where the journal ends");
}

TEST(Journal, ASecondWriterIsRefused) {
  MemoryFileSystem files;
  auto journal = open_journal(files);
  const Status second = open_journal(files).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(second)) << second;
  EXPECT_THAT(message(second), HasSubstr("run/journal: got a directory that another process"));
}

TEST(Journal, AnotherRunRecipeOrLayoutIsRefusedByName) {
  MemoryFileSystem files;
  ASSERT_TRUE(open_journal(files).ok());
  const auto refusal = [&](JournalIdentity identity) {
    const Status status = Journal::open(files, kRun, identity).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    return message(status);
  };
  EXPECT_EQ(refusal({"demo 2", "recipe", "layout"}),
            "[journal] run/journal/segment-000000000000: got a journal of another run, demo 1, "
            "want demo 2; name another directory");
  EXPECT_THAT(refusal({"demo 1", "r", "layout"}), HasSubstr("another recipe, recipe, want r;"));
  EXPECT_THAT(refusal({"demo 1", "recipe", "l"}), HasSubstr("another layout, layout, want l;"));
}

TEST(Journal, AFullDiskOrAFailingSyncEndsIt) {
  for (const bool full : {true, false}) {
    MemoryFileSystem files;
    auto journal = open_journal(files);
    ASSERT_TRUE(append_records(*journal, 2).ok());
    ASSERT_TRUE(journal->sync().ok());
    ASSERT_TRUE(append_records(*journal, 2).ok());
    if (full) files.fill_after(50);
    if (!full) files.fail_syncs(1);
    const Status failed = journal->sync();
    EXPECT_EQ(absl::IsResourceExhausted(failed), full) << failed;
    for (const Status& status :
         {journal->append("x").status(), journal->sync(), journal->start_segment()}) {
      EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
      EXPECT_THAT(message(status), HasSubstr("[journal] run/journal: got a journal that failed"));
      EXPECT_THAT(message(status), HasSubstr(message(failed)));
    }
    EXPECT_TRUE(journal->trim_before(1).ok());
    close(journal);
    const auto again = open_journal(files);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->next_index(), full ? 2 : 4);
    EXPECT_EQ(again->cut_bytes() > 0, full);
  }
}

TEST(Journal, ASegmentThatCannotBeBegunEndsIt) {
  MemoryFileSystem files;
  auto journal = open_journal(files);
  ASSERT_TRUE(append_records(*journal, 2).ok());
  files.fail_rename_to("run/journal/segment-000000000002");
  EXPECT_FALSE(journal->start_segment().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(journal->append("x").status()));
  close(journal);
  ASSERT_EQ(open_journal(files)->next_index(), 2);
  EXPECT_EQ(files.list("run/journal")->size(), 1u) << "what was left of it is removed";
}

TEST(Journal, ARecordTooLongIsRefusedAndTheLongestIsNot) {
  MemoryFileSystem files;
  auto journal = open_journal(files);
  const std::string longest(kMaxRecordBytes, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(journal->append(longest + "y").status()));
  ASSERT_TRUE(journal->append(longest).ok());
  ASSERT_TRUE(journal->append("behind it").ok());
  ASSERT_TRUE(journal->sync().ok());
  EXPECT_THAT(*read_records(files), ElementsAre(longest, "behind it"));
}

TEST(JournalReader, FollowsAWriterAcrossSegments) {
  MemoryFileSystem files;
  EXPECT_TRUE(absl::IsNotFound(JournalReader::open(files, kRun, {}).status()));
  auto journal = open_journal(files);
  auto reader = JournalReader::open(files, kRun, {});
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(reader->identity(), tiny_identity());
  for (int64_t index = 0; index < 20; ++index) {
    EXPECT_FALSE(reader->next()->has_value());
    ASSERT_TRUE(append_records(*journal, 1).ok());
    ASSERT_TRUE(journal->sync().ok());
    const auto record = reader->next();
    ASSERT_TRUE(record.ok()) << record.status();
    EXPECT_EQ((*record)->index, index);
    EXPECT_EQ((*record)->bytes, tiny_record(index));
    if (index % 3 == 0) {
      ASSERT_TRUE(journal->start_segment().ok());
    }
    if (index % 6 == 0) {
      ASSERT_TRUE(journal->trim_before(index - 2).ok());
    }
  }
}

TEST(JournalReader, StopsAtARecordThatIsHalfWrittenAndGoesOnWhenItIsWhole) {
  MemoryFileSystem files;
  auto journal = open_journal(files);
  ASSERT_TRUE(append_records(*journal, 2).ok());
  ASSERT_TRUE(journal->sync().ok());
  const std::string path = journal_segment_path(kRun, 0);
  const std::string before = *files.read_file(path);
  ASSERT_TRUE(append_records(*journal, 2).ok());
  ASSERT_TRUE(journal->sync().ok());
  const std::string after = *files.read_file(path);
  for (size_t size = before.size(); size < after.size(); ++size) {
    ASSERT_TRUE(files.replace_file(path, after.substr(0, size)).ok());
    auto reader = JournalReader::open(files, kRun, {});
    std::vector<std::string> records;
    const auto read_on = [&] {
      for (auto record = reader->next(); record.ok() && *record; record = reader->next())
        records.emplace_back((*record)->bytes);
    };
    read_on();
    ASSERT_TRUE(records == tiny_records(0, 2) || records == tiny_records(0, 3)) << size;
    ASSERT_TRUE(files.replace_file(path, after).ok());
    read_on();
    ASSERT_EQ(records, tiny_records(0, 4)) << size;
  }
}

// Records of several pages, so that a read meets writes half done.
TEST(JournalReader, ReadsBesideAWriterInAnotherThread) {
  const TemporaryDirectory directory;
  PosixFileSystem files;
  constexpr int64_t kRecords = 600;
  const auto record = [](int64_t i) {
    return std::string(static_cast<size_t>(i * 977 % 30'000), static_cast<char>(i));
  };
  auto journal = Journal::open(files, directory.path(), tiny_identity());
  ASSERT_TRUE(journal.ok()) << journal.status();
  auto reader = JournalReader::open(files, directory.path(), 0);
  ASSERT_TRUE(reader.ok()) << reader.status();
  Status written;
  std::thread writer([&] {
    for (int64_t i = 0; i < kRecords && written.ok(); ++i) {
      written.Update(journal->append(record(i)).status());
      if (i % 3 == 0) written.Update(journal->sync());
      if (i % 100 == 0) written.Update(journal->start_segment());
    }
    written.Update(journal->sync());
  });
  Status read;
  for (int64_t i = 0; i < kRecords && read.ok();) {
    const auto next = reader->next();
    read = next.status();
    if (!next.ok() || !*next) continue;
    if ((*next)->index != i || (*next)->bytes != record(i)) read = absl::InternalError(cat(i));
    ++i;
  }
  writer.join();
  EXPECT_EQ(written, absl::OkStatus());
  EXPECT_EQ(read, absl::OkStatus());
}

TEST(JournalReader, WorksOnTheMachinesFiles) {
  const TemporaryDirectory directory;
  PosixFileSystem files;
  const std::string run = join_path(directory.path(), kRun);
  {
    auto journal = Journal::open(files, run, tiny_identity());
    ASSERT_TRUE(journal.ok()) << journal.status();
    ASSERT_TRUE(append_records(*journal, 50).ok());
    ASSERT_TRUE(journal->start_segment().ok());
    ASSERT_TRUE(append_records(*journal, 50).ok());
    ASSERT_TRUE(journal->sync().ok());
  }
  auto torn = files.open_append(journal_segment_path(run, 50));
  ASSERT_TRUE((*torn)->append("RJr\x1ehalf").ok());
  auto journal = Journal::open(files, run, tiny_identity());
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ(journal->cut_bytes(), 8);
  ASSERT_TRUE(append_records(*journal, 1).ok());
  ASSERT_TRUE(journal->sync().ok());
  auto reader = JournalReader::open(files, run, 30);
  ASSERT_TRUE(reader.ok()) << reader.status();
  for (int64_t index = 30; index < 101; ++index)
    EXPECT_EQ((*reader->next())->bytes, tiny_record(index));
  EXPECT_FALSE(reader->next()->has_value());
}

}  // namespace
}  // namespace rubato
