// Power cuts, full disks and failing syncs in the middle of checkpoints.
#include "tests/store/tiny_run.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/checkpoint.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/store/retention.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

constexpr CrashKeeps kAllKinds[] = {CrashKeeps::kNothing, CrashKeeps::kNames,
                                    CrashKeeps::kNamesAndHalf, CrashKeeps::kNamesAndHole,
                                    CrashKeeps::kEverything};

/// Writes checkpoints 1 and 2 and keeps the last one, as a run does, until the power goes. Returns
/// the newest step that was acknowledged; 0 when none was.
int64_t run_until_dark(MemoryFileSystem& files) {
  int64_t acknowledged = 0;
  for (int64_t step = 1; step <= 2; ++step) {
    if (!TinyRun::at(step).write(files, "run").ok()) break;
    acknowledged = step;
    const RetentionPolicy policy{.keep_last = 1, .keep_every_steps = {}};
    if (!prune_checkpoints(files, "run", policy, step).ok()) break;
  }
  return acknowledged;
}

// The promise of the format: after a crash at any unit of work (each byte is one) and whatever the
// disk kept of what was not synced, every listed checkpoint loads and equals what was written, the
// newest acknowledged one is not lost, and writing goes on.
TEST(CheckpointCrash, WhereverThePowerGoesWhatIsListedIsWhole) {
  MemoryFileSystem whole;
  ASSERT_EQ(run_until_dark(whole), 2);
  const int64_t all_work = whole.work_done();
  ASSERT_GT(all_work, 2000);
  for (const CrashKeeps keeps : kAllKinds) {
    for (int64_t work = 0; work < all_work; ++work) {
      MemoryFileSystem files;
      files.cut_power_after(work);
      const int64_t acknowledged = run_until_dark(files);
      files.restart(keeps);
      const auto listed = list_checkpoints(files, "run");
      ASSERT_TRUE(listed.ok()) << listed.status();
      const int64_t newest = listed->empty() ? 0 : checkpoint_step(base_name(listed->front()));
      ASSERT_GE(newest, acknowledged) << "work " << work;
      for (const std::string& path : *listed) {
        const auto found = TinyRun::read(files, path);
        ASSERT_TRUE(found.ok()) << "work " << work << ": " << found.status();
        ASSERT_EQ(*found, TinyRun::at(found->step));
      }
      ASSERT_EQ(TinyRun::at(9).write(files, "run"), absl::OkStatus());
      ASSERT_EQ(list_checkpoints(files, "run")->front(), checkpoint_path("run", 9));
    }
  }
}

TEST(CheckpointCrash, AFullDiskAtAnyByteLeavesTheOlderOnesAndNothingPartial) {
  bool finished = false;
  int64_t bytes = 0;
  for (; !finished; ++bytes) {
    MemoryFileSystem files;
    ASSERT_TRUE(TinyRun::at(1).write(files, "run").ok());
    files.fill_after(bytes);
    const Status status = TinyRun::at(2).write(files, "run");
    finished = status.ok();
    if (finished) break;
    ASSERT_TRUE(absl::IsResourceExhausted(status)) << status;
    ASSERT_THAT(std::string(status.message()), HasSubstr("the disk is full"));
    ASSERT_EQ(files.list("run/checkpoints")->size(), 1u);
    ASSERT_EQ(*TinyRun::read(files, checkpoint_path("run", 1)), TinyRun::at(1));
  }
  EXPECT_GT(bytes, 1000);
}

TEST(CheckpointCrash, AFailingSyncIsAnErrorThatLeavesNothingPartial) {
  MemoryFileSystem files;
  ASSERT_TRUE(TinyRun::at(1).write(files, "run").ok());
  files.fail_syncs(1);
  const Status status = TinyRun::at(2).write(files, "run");
  EXPECT_THAT(std::string(status.message()), HasSubstr("got Input/output error, want to sync"));
  EXPECT_EQ(files.list("run/checkpoints")->size(), 1u);
  EXPECT_EQ(TinyRun::at(2).write(files, "run"), absl::OkStatus());
}

TEST(CheckpointCrash, AFailingRenameKeepsWhatWasToBeReplaced) {
  MemoryFileSystem files;
  TinyRun run = TinyRun::at(1);
  ASSERT_TRUE(run.write(files, "run").ok());
  TinyRun other = run;
  other.theta[0] = 99;
  files.fail_rename_to(checkpoint_path("run", 1));
  EXPECT_THAT(std::string(other.write(files, "run").message()), HasSubstr("want to rename it"));
  EXPECT_EQ(files.list("run/checkpoints")->size(), 1u);
  EXPECT_EQ(*TinyRun::read(files, checkpoint_path("run", 1)), run);
}

TEST(CheckpointCrash, TooLittleRoomIsSaidBeforeAByteIsWritten) {
  MemoryFileSystem files;
  ASSERT_TRUE(TinyRun::at(1).write(files, "run").ok());
  files.set_available_bytes(1000);
  const int64_t work = files.work_done();
  const Status status = TinyRun::at(2).write(files, "run");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("[checkpoint] run/checkpoints: got 1000 bytes of free disk, want "));
  EXPECT_EQ(files.work_done(), work);
}

}  // namespace
}  // namespace rubato
