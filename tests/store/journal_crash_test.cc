// Power cuts and full disks at every unit of work of a journal's life, and a model of it under
// random orders.
#include <algorithm>

#include "tests/store/journal_rig.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "rubato/store/file_names.h"

namespace rubato {
namespace {

constexpr CrashKeeps kAllKinds[] = {CrashKeeps::kNothing, CrashKeeps::kNames,
                                    CrashKeeps::kNamesAndHalf, CrashKeeps::kNamesAndHole,
                                    CrashKeeps::kEverything};

/// What somebody who wrote a journal may rely on.
struct Promise {
  int64_t synced = 0;    // records below were acknowledged
  int64_t appended = 0;  // none at or above exists
  int64_t needed = 0;    // none at or above may be trimmed
};

/// A life with syncs of several records, snapshots and trimming, until the first error.
Status live(MemoryFileSystem& files, Promise& promise) {
  RUBATO_ASSIGN_OR_RETURN(auto journal, open_journal(files));
  for (int64_t round = 0; round < 5; ++round) {
    RUBATO_RETURN_IF_ERROR(append_records(journal, round % 3 + 1));
    promise.appended = journal.next_index();
    RUBATO_RETURN_IF_ERROR(journal.sync());
    promise.synced = journal.synced_index();
    if (round % 2 == 0) continue;
    RUBATO_RETURN_IF_ERROR(append_records(journal, 1));
    promise.appended = journal.next_index();
    RUBATO_RETURN_IF_ERROR(journal.start_segment());
    promise.synced = promise.needed = journal.synced_index();
    RUBATO_RETURN_IF_ERROR(journal.trim_before(promise.needed));
  }
  return absl::OkStatus();
}

/// What is found by whoever opens the journal keeps the promise, and the journal goes on.
void expect_kept(MemoryFileSystem& files, const Promise& promise) {
  auto journal = open_journal(files);
  ASSERT_TRUE(journal.ok()) << journal.status();
  const int64_t first = journal->first_index(), next = journal->next_index();
  ASSERT_LE(first, promise.needed);
  ASSERT_GE(next, promise.synced);
  ASSERT_LE(next, promise.appended);
  ASSERT_EQ(*read_records(files), tiny_records(first, next));
  ASSERT_TRUE(append_records(*journal, 2).ok());
  ASSERT_TRUE(journal->start_segment().ok());
  close(journal);
  files.restart(CrashKeeps::kNothing);
  ASSERT_EQ(*read_records(files), tiny_records(first, next + 2)) << "what was found was synced";
  ASSERT_EQ(open_journal(files)->next_index(), next + 2);
}

TEST(JournalCrash, WhereverThePowerGoesEverySyncedRecordIsThereOnce) {
  MemoryFileSystem whole;
  Promise all;
  ASSERT_EQ(live(whole, all), absl::OkStatus());
  ASSERT_EQ(all.synced, 11);
  ASSERT_GT(whole.work_done(), 1000);
  for (const CrashKeeps keeps : kAllKinds) {
    for (int64_t work = 0; work < whole.work_done(); ++work) {
      SCOPED_TRACE(cat("work ", work, " kind ", static_cast<int>(keeps)));
      MemoryFileSystem files;
      files.cut_power_after(work);
      Promise promise;
      ASSERT_FALSE(live(files, promise).ok());
      files.restart(keeps);
      ASSERT_NO_FATAL_FAILURE(expect_kept(files, promise));
    }
  }
}

/// A torn write of records 3 to 5 behind three that were synced.
Promise tear(MemoryFileSystem& files, CrashKeeps keeps) {
  auto journal = open_journal(files);
  EXPECT_TRUE(append_records(*journal, 3).ok());
  EXPECT_TRUE(journal->sync().ok());
  EXPECT_TRUE(append_records(*journal, 3).ok());
  files.cut_power_after(100);
  EXPECT_FALSE(journal->sync().ok());
  files.restart(keeps);
  return {3, 6, 0};
}

// The second crash comes while the torn write of the first is cut off.
TEST(JournalCrash, RecoveryMayBeInterruptedToo) {
  for (const CrashKeeps first : {CrashKeeps::kNamesAndHalf, CrashKeeps::kNamesAndHole}) {
    for (const CrashKeeps second : kAllKinds) {
      for (int64_t work = 0; work < 6; ++work) {
        MemoryFileSystem files;
        const Promise promise = tear(files, first);
        files.cut_power_after(work);
        const bool opened = open_journal(files).ok();
        EXPECT_EQ(opened, work >= 4) << "open, shorten, sync the file, sync the directory";
        files.restart(second);
        ASSERT_NO_FATAL_FAILURE(expect_kept(files, promise)) << work;
      }
    }
  }
}

TEST(JournalCrash, AFullDiskAtAnyByteLosesNothing) {
  MemoryFileSystem whole;
  Promise all;
  ASSERT_EQ(live(whole, all), absl::OkStatus());
  bool finished = false;
  for (int64_t bytes = 0; !finished; ++bytes) {
    MemoryFileSystem files;
    files.fill_after(bytes);
    Promise promise;
    const Status status = live(files, promise);
    finished = status.ok();
    ASSERT_TRUE(finished || absl::IsResourceExhausted(status)) << status;
    files.fill_after(1'000'000);
    ASSERT_NO_FATAL_FAILURE(expect_kept(files, promise)) << bytes;
  }
}

/// A journal, and beside it the list of what it should hold.
class Model {
 public:
  void check() {
    RC_ASSERT(journal_->next_index() == static_cast<int64_t>(records_.size()));
    RC_ASSERT(journal_->synced_index() == synced_);
    RC_ASSERT(journal_->first_index() <= trimmed_);
    follow();
  }
  void append(const std::string& record) {
    RC_ASSERT(journal_->append(record).value() == static_cast<int64_t>(records_.size()));
    records_.push_back(record);
  }
  void sync() {
    RC_ASSERT(journal_->sync().ok());
    synced_ = static_cast<int64_t>(records_.size());
  }
  void start_segment() {
    RC_ASSERT(journal_->start_segment().ok());
    synced_ = static_cast<int64_t>(records_.size());
  }
  void trim_before(int64_t index) {
    RC_ASSERT(journal_->trim_before(index).ok());
    trimmed_ = std::max(trimmed_, std::min(index, synced_));
    reader_.reset();  // it may have stood in what is gone
  }
  /// The power goes within the next units of work, while everything that can happen does.
  void crash(int64_t work, CrashKeeps keeps) {
    files_.cut_power_after(work);
    const Status status = journal_->sync();
    if (status.ok()) synced_ = static_cast<int64_t>(records_.size());
    if (status.ok() && journal_->start_segment().ok())
      journal_->trim_before(trimmed_).IgnoreError();
    files_.restart(keeps);
    journal_.reset();
    reader_.reset();
    journal_.emplace(open_journal(files_).value());
    const int64_t found = journal_->next_index();
    RC_ASSERT(found >= synced_);
    RC_ASSERT(found <= static_cast<int64_t>(records_.size()));
    records_.resize(static_cast<size_t>(found));
    synced_ = found;
  }

 private:
  /// A reader that goes along sees what is synced, in order, and nothing else.
  void follow() {
    if (!reader_) {
      reader_.emplace(JournalReader::open(files_, kRun, {}).value());
      seen_ = journal_->first_index();
    }
    while (true) {
      const auto record = reader_->next().value();
      if (!record) break;
      RC_ASSERT(record->index == seen_);
      RC_ASSERT(record->bytes == records_[static_cast<size_t>(seen_)]);
      ++seen_;
    }
    RC_ASSERT(seen_ == synced_);
  }

  MemoryFileSystem files_;
  std::optional<Journal> journal_{open_journal(files_).value()};
  std::optional<JournalReader> reader_;
  std::vector<std::string> records_;
  int64_t synced_ = 0, trimmed_ = 0, seen_ = 0;
};

TEST(JournalProperty, IsAListWhoseSyncedPartNeverChanges) {
  EXPECT_TRUE(rc::check([] {
    Model model;
    int64_t appended = 0;
    for (int step = 0; step < 60; ++step) {
      switch (*rc::gen::inRange(0, 12)) {
        case 0:
          model.start_segment();
          break;
        case 1:
          model.trim_before(*rc::gen::inRange<int64_t>(0, appended + 1));
          break;
        case 2:
          model.crash(*rc::gen::inRange<int64_t>(0, 700),
                      *rc::gen::elementOf(
                          std::vector<CrashKeeps>(std::begin(kAllKinds), std::end(kAllKinds))));
          break;
        case 3:
        case 4:
        case 5:
          model.sync();
          break;
        default:
          model.append(*rc::gen::container<std::string>(rc::gen::arbitrary<char>()));
          ++appended;
      }
      model.check();
    }
  }));
}

}  // namespace
}  // namespace rubato
