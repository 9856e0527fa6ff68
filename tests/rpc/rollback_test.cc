// Back to a snapshot: what is left of the history behind it (nothing), what a crash in the middle
// leaves (one of the two runs, whole), and who is refused.
#include "rubato/rpc/rollback.h"

#include "tests/rpc/copied_run.h"
#include "tests/rpc/peer_rig.h"
#include "tests/rpc/refusals.h"
#include <gtest/gtest.h>

#include "rubato/rpc/replay.h"
#include "rubato/store/checkpoint.h"
#include "rubato/store/file_names.h"

namespace rubato {
namespace {

using Code = absl::StatusCode;
constexpr char kRun[] = "/run";

std::vector<std::string> names_in(FileSystem& files, const std::string& directory) {
  std::vector<std::string> names;
  const auto entries = files.list(directory);
  RUBATO_CHECK(entries.ok(), entries.status().message());
  for (const DirectoryEntry& entry : *entries) names.push_back(entry.name);
  return names;
}

// A run of four steps an update with a snapshot after each, stopped in the middle of a task.
class RollbackTest : public testing::Test {
 protected:
  void make_run() {
    rig_ = std::make_unique<PeerRig>(PeerRigOptions{.save_every_steps = 4});
    auto peer = rig_->attend(0);
    const auto other = rig_->attend(1);
    for (int i = 0; i < 5; ++i) {
      early_.push_back(rig_->delta(peer.task, 0.01F * static_cast<float>(i + 1)));
      ASSERT_TRUE(rig_->push(0, early_.back()).ok());
      peer.task = PeerRig::next_task(*peer.session);
    }
    ASSERT_TRUE(rig_->stop().ok());
    old_digest_ = rig_->cluster().state_digest();
    copy_tree(rig_->files(), kRun, files_);
  }
  StatusOr<RollbackReport> roll_back_to(int64_t step) { return roll_back_in(files_, step); }
  StatusOr<RollbackReport> roll_back_in(FileSystem& files, int64_t step) {
    return roll_back(files, rig_->cluster().config(), rig_->workload().layout(), step);
  }
  // The run in those files, as the next coordinator finds it.
  StatusOr<std::unique_ptr<Cluster>> open(FileSystem& files) {
    ClusterServices services;
    services.files = &files;
    services.clock = [] { return Nanos{0}; };
    services.sink = &sink_;
    services.note = [](const Notice&) {};
    return Cluster::open(
        rig_->cluster().config(), services, rig_->workload().layout(),
        []() -> StatusOr<std::vector<float>> { return absl::InternalError("a new run"); });
  }
  // The run right behind the decision to roll it back.
  std::unique_ptr<MemoryFileSystem> decided_run(int64_t step) {
    for (int64_t work = 0;; ++work) {
      auto files = std::make_unique<MemoryFileSystem>();
      copy_tree(files_, kRun, *files);
      files->cut_power_after(work);
      RUBATO_CHECK(!roll_back_in(*files, step).ok(), "it was never decided");
      files->restart(CrashKeeps::kNothing);
      if (read_run_identity(*files, kRun)->rollback) return files;
    }
  }
  StatusOr<ReplayReport> replay_from(ReplayFrom from) {
    return replay(files_, rig_->cluster().config(), rig_->workload().layout(), from, nullptr);
  }
  std::vector<int64_t> snapshots(FileSystem& files) {
    std::vector<int64_t> steps;
    const auto paths = list_checkpoints(files, kRun);
    RUBATO_CHECK(paths.ok(), paths.status().message());
    for (const std::string& path : *paths) steps.push_back(checkpoint_step(base_name(path)));
    return steps;
  }

  std::unique_ptr<PeerRig> rig_;
  std::vector<PeerDelta> early_;
  std::string old_digest_;
  MemoryFileSystem files_;
  MemorySink sink_;
};

TEST_F(RollbackTest, NothingBehindTheSnapshotIsLeft) {
  make_run();
  ASSERT_EQ(snapshots(files_).front(), 20);
  const auto report = roll_back_to(16);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->step, 16);
  EXPECT_EQ(report->version, 4);
  EXPECT_EQ(report->incarnation, 1);
  EXPECT_EQ(snapshots(files_).front(), 16);
  EXPECT_EQ(names_in(files_, journal_directory(kRun)).size(), 1u);
  EXPECT_TRUE(names_in(files_, spool_directory(kRun)).empty());
  EXPECT_TRUE(names_in(files_, kept_directory(kRun)).empty());
  for (const std::string& name : names_in(files_, versions_directory(kRun)))
    EXPECT_LE(version_of_name(name), 4);

  const auto cluster = open(files_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ((*cluster)->state_digest(), report->state_digest);
  EXPECT_EQ((*cluster)->identity().incarnation, 1);
  EXPECT_EQ((*cluster)->counts().steps, 16);
  EXPECT_TRUE((*cluster)->tasks_in_flight().empty()) << "they are void";
  ASSERT_EQ(sink_.log().events.size(), 1u);
  EXPECT_EQ(sink_.log().events[0].text, "rolled-back");
}

TEST_F(RollbackTest, ItsReplayBeginsWithTheSnapshot) {
  make_run();
  const auto report = roll_back_to(12);
  ASSERT_TRUE(report.ok()) << report.status();
  for (const ReplayFrom from : {ReplayFrom::kOldest, ReplayFrom::kNewest}) {
    const auto again = replay_from(from);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->from_step, 12);
    EXPECT_EQ(again->state_digest, report->state_digest);
    EXPECT_TRUE(again->ledger.balanced());
    EXPECT_EQ(again->ledger.assigned, 0);
  }
}

TEST_F(RollbackTest, ItCanBeDoneAgainAndFurther) {
  make_run();
  ASSERT_TRUE(roll_back_to(16).ok());
  ASSERT_TRUE(open(files_).ok());
  const auto again = roll_back_to(12);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->incarnation, 2);
  EXPECT_EQ((*open(files_))->state_digest(), again->state_digest);
}

// What a worker of before still has: its session and its deltas, done and half done.
TEST_F(RollbackTest, WhatWasUnderWayIsRefusedAtTheDoor) {
  make_run();
  ASSERT_TRUE(roll_back_to(12).ok());
  const auto cluster = open(files_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const std::string before = (*cluster)->state_digest();
  const auto reception = Reception::make(**cluster, {});
  ASSERT_TRUE(reception.ok());
  expect_refusal((*reception)->attend(WorkerId(0), rig_->hello()).status(),
                 Code::kFailedPrecondition, "want " + rig_->cluster().identity().run + ".1");
  for (const PeerDelta& delta : early_) {
    expect_refusal((*reception)->push(WorkerId(0), delta.header).status(),
                   Code::kFailedPrecondition, "[push] got incarnation 0, want 1");
  }
  EXPECT_EQ((*cluster)->state_digest(), before);
}

// One delta of the round came before the snapshot; the one that was still out will not come.
TEST_F(RollbackTest, AnUnfinishedRoundEndsWithWhatItHas) {
  rig_ = std::make_unique<PeerRig>(PeerRigOptions{.gate = "barrier"});
  auto peer = rig_->attend(0);
  auto other = rig_->reception().attend(WorkerId(1), rig_->hello());
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(rig_->push(0, rig_->delta(peer.task)).ok());
  peer.task = PeerRig::next_task(*peer.session);
  PeerRig::next_task(**other);
  ASSERT_TRUE(rig_->push(0, rig_->delta(peer.task)).ok());
  ASSERT_TRUE(rig_->stop().ok());
  copy_tree(rig_->files(), kRun, files_);
  const std::string delta = spool_delta_path(kRun, TaskId(peer.task.id()));
  const std::string bytes = *files_.read_file(delta);

  ASSERT_TRUE(files_.remove_file(delta).ok());
  expect_refusal(roll_back_to(8).status(), Code::kFailedPrecondition,
                 "[rollback] /run: got snapshot 8 of an unfinished round");
  ASSERT_TRUE(files_.replace_file(delta, bytes).ok());
  const auto report = roll_back_to(8);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->version, 2);
  EXPECT_EQ(names_in(files_, spool_directory(kRun)), std::vector{base_name(delta)});
  const auto cluster = open(files_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ((*cluster)->state_digest(), report->state_digest);
  EXPECT_TRUE((*cluster)->tasks_in_flight().empty());
}

TEST_F(RollbackTest, ACrashLeavesOneOfTheTwoRuns) {
  make_run();
  MemoryFileSystem whole;
  copy_tree(files_, kRun, whole);
  const int64_t before = whole.work_done();
  const auto report = roll_back_in(whole, 12);
  ASSERT_TRUE(report.ok()) << report.status();
  const int64_t needed = whole.work_done() - before;
  int64_t seen_old = 0, seen_new = 0;
  for (const CrashKeeps keeps :
       {CrashKeeps::kNothing, CrashKeeps::kNames, CrashKeeps::kNamesAndHalf,
        CrashKeeps::kNamesAndHole, CrashKeeps::kEverything}) {
    for (int64_t work = 0; work <= needed; ++work) {
      SCOPED_TRACE(cat("crash ", static_cast<int>(keeps), " after ", work, " of ", needed));
      MemoryFileSystem files;
      copy_tree(files_, kRun, files);
      files.cut_power_after(work);
      const bool done = roll_back_in(files, 12).ok();
      files.restart(keeps);
      // It comes up twice: what the first opening did must last.
      for (int start = 0; start < 2; ++start) {
        const auto cluster = open(files);
        ASSERT_TRUE(cluster.ok()) << cluster.status();
        const bool is_new = (*cluster)->identity().incarnation == 1;
        ASSERT_TRUE(is_new || !done);
        ASSERT_EQ((*cluster)->state_digest(), is_new ? report->state_digest : old_digest_);
        ASSERT_EQ(snapshots(files).front(), is_new ? 12 : 20);
        (is_new ? seen_new : seen_old) += 1;
      }
    }
  }
  EXPECT_GT(seen_old, 0);
  EXPECT_GT(seen_new, 0);
}

// The power goes again while the next opening does the rest.
TEST_F(RollbackTest, ACrashWhileItIsCompletedLeavesItToTheNextOne) {
  make_run();
  MemoryFileSystem whole;
  copy_tree(files_, kRun, whole);
  const auto report = roll_back_in(whole, 16);
  ASSERT_TRUE(report.ok());
  const auto half = decided_run(16);
  expect_refusal(check_not_rolling_back(*half, kRun), Code::kFailedPrecondition,
                 "half rolled back");
  bool done = false;
  for (int64_t work = 0; !done; ++work) {
    SCOPED_TRACE(work);
    MemoryFileSystem files;
    copy_tree(*half, kRun, files);
    files.cut_power_after(work);
    done = complete_rollback(files, kRun).ok();
    files.restart(CrashKeeps::kNothing);
    const auto cluster = open(files);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    ASSERT_EQ((*cluster)->state_digest(), report->state_digest);
  }
}

TEST_F(RollbackTest, ARunInUseIsRefused) {
  make_run();
  const auto cluster = open(files_);
  ASSERT_TRUE(cluster.ok());
  EXPECT_EQ(roll_back_to(16).status().code(), Code::kFailedPrecondition);
  const auto lock = files_.lock_directory(kRun);
  EXPECT_EQ(roll_back_to(16).status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(snapshots(files_).front(), 20);
}

TEST_F(RollbackTest, WhatCannotBeLeavesTheRunAsItWas) {
  make_run();
  expect_refusal(roll_back_to(17).status(), Code::kNotFound,
                 "[rollback] /run: got step 17, want that of a snapshot: 20, 16, ");
  ClusterConfig other = rig_->cluster().config();
  other.digests.data = std::string(32, 'f');
  expect_refusal(roll_back(files_, other, rig_->workload().layout(), 16).status(),
                 Code::kFailedPrecondition, "got a data set");
  other.directory = "/nowhere";
  expect_refusal(roll_back(files_, other, rig_->workload().layout(), 16).status(), Code::kNotFound,
                 "[rollback] /nowhere: got no run");
  files_.corrupt(join_path(checkpoint_path(kRun, 16), "state.safetensors"), 200, 1);
  expect_refusal(roll_back_to(16).status(), Code::kDataLoss, "[checkpoint]");
  EXPECT_EQ((*open(files_))->state_digest(), old_digest_);
}

// Only a journal that is sound can be recovered from; a rollback needs none.
TEST_F(RollbackTest, ADamagedJournalIsNoObstacle) {
  make_run();
  const std::string segment = names_in(files_, journal_directory(kRun)).back();
  ASSERT_TRUE(files_.replace_file(join_path(journal_directory(kRun), segment), "?").ok());
  ASSERT_FALSE(open(files_).ok());
  const auto report = roll_back_to(20);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ((*open(files_))->state_digest(), report->state_digest);
}

TEST_F(RollbackTest, NorOneThatIsGone) {
  make_run();
  ASSERT_TRUE(files_.remove_tree(journal_directory(kRun)).ok());
  const auto report = roll_back_to(20);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ((*open(files_))->state_digest(), report->state_digest);
}

}  // namespace
}  // namespace rubato
