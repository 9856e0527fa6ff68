// What an operator does to a live cluster, and what it tells about itself.
#include "tests/rpc/cluster_rig.h"
#include "tests/sim/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/rpc/replay.h"

namespace rubato {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr Nanos kMillisecond = kNanosPerSecond / 1000;

class Operated : public testing::Test {
 protected:
  void open(const std::string& name, int64_t budget_steps) {
    training_.coordinator.budget_steps = training_.coordinator.schedule_steps = budget_steps;
    training_.gate = {"free", {}};
    config_ = cluster_config(training_, *workload_, directory_ = fresh_directory(name));
    config_.keep_deltas = true;
    config_.start_workers = 1;
    config_.quota_bytes = quota_bytes_;
    reopen();
  }
  void reopen() {
    rig_.reset();
    rig_ = std::make_unique<ClusterRig>(training_, *workload_, config_, files_);
    const Status opened = rig_->open();
    ASSERT_TRUE(opened.ok()) << opened;
    rig_->start();
  }
  Cluster& cluster() { return rig_->cluster(); }

  static bool eventually(const std::function<bool()>& done) {
    for (int i = 0; i < 2000 && !done(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return done();
  }
  bool reaches(int64_t steps) {
    return eventually([&] { return cluster().counts().steps >= steps; });
  }
  bool is_quiet() {
    return eventually([&] { return cluster().tasks_in_flight().empty(); });
  }
  void expect_replay(const std::string& digest) {
    const auto replayed =
        replay(files_, config_, workload_->layout(), ReplayFrom::kOldest, nullptr);
    ASSERT_TRUE(replayed.ok()) << replayed.status();
    EXPECT_EQ(replayed->state_digest, digest);
    EXPECT_TRUE(replayed->ledger.balanced());
  }

  SimulationConfig training_ = toy_config();
  std::optional<int64_t> quota_bytes_;
  std::unique_ptr<QuadraticWorkload> workload_ = quadratic_workload();
  PosixFileSystem files_;
  ClusterConfig config_;
  std::string directory_;
  std::unique_ptr<ClusterRig> rig_;
};

TEST_F(Operated, APauseOutlivesTheCoordinatorAndEndsWithAResume) {
  open("paused", 1500);
  rig_->add_worker(0, kMillisecond);
  rig_->add_worker(1, 2 * kMillisecond);
  ASSERT_TRUE(reaches(200));
  ASSERT_TRUE(cluster().pause(true).ok());
  ASSERT_TRUE(is_quiet());
  const int64_t steps = cluster().counts().steps;
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(cluster().counts().steps, steps);
  const v1::StatusReply status = cluster().status();
  EXPECT_TRUE(status.paused());
  ASSERT_EQ(status.workers_size(), 2);
  for (const v1::WorkerStatus& worker : status.workers())
    EXPECT_EQ(worker.state(), v1::WorkerStatus::STATE_WAITING);
  EXPECT_TRUE(eventually([&] { return !rig_->notices().of("operator").empty(); }));
  EXPECT_THAT(rig_->notices().of("operator"), Contains(HasSubstr("paused")));
  ASSERT_TRUE(rig_->stop().ok());

  reopen();
  EXPECT_TRUE(cluster().status().paused());
  rig_->add_worker(0, kMillisecond);
  rig_->add_worker(2, kMillisecond);
  ASSERT_TRUE(eventually([&] { return cluster().status().workers_size() == 3; }));
  EXPECT_TRUE(cluster().tasks_in_flight().empty());
  ASSERT_TRUE(cluster().pause(false).ok());
  const auto end = rig_->wait();
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(*end, Cluster::End::kFinished);
  expect_replay(cluster().state_digest());
  // What is over cannot be held.
  EXPECT_TRUE(absl::IsFailedPrecondition(cluster().pause(true)));
}

TEST_F(Operated, ADrainEndsWhenAllIsInAndWritesASnapshot) {
  open("drained", 1'000'000);
  rig_->add_worker(0, kMillisecond);
  rig_->add_worker(1, 3 * kMillisecond);
  ASSERT_TRUE(reaches(100));
  ASSERT_TRUE(cluster().drain().ok());
  EXPECT_TRUE(cluster().status().draining());
  const auto end = rig_->wait();
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(*end, Cluster::End::kStopped);
  EXPECT_TRUE(cluster().tasks_in_flight().empty());
  const int64_t steps = cluster().counts().steps;
  const auto snapshots = list_checkpoints(files_, directory_);
  ASSERT_TRUE(snapshots.ok()) << snapshots.status();
  EXPECT_EQ(snapshots->front(), checkpoint_path(directory_, steps));
  expect_replay(cluster().state_digest());
  reopen();
  EXPECT_TRUE(cluster().status().paused());
  EXPECT_FALSE(cluster().status().draining());
}

TEST_F(Operated, AResumeCallsADrainOff) {
  open("called-off", 400);
  // Its task takes two seconds, in which nothing is drained.
  rig_->add_worker(0, 2 * kNanosPerSecond / training_.coordinator.local_steps);
  ASSERT_TRUE(eventually([&] { return !cluster().tasks_in_flight().empty(); }));
  ASSERT_TRUE(cluster().drain().ok());
  ASSERT_TRUE(cluster().pause(false).ok());
  EXPECT_FALSE(cluster().status().draining());
  EXPECT_FALSE(cluster().status().paused());
  EXPECT_TRUE(reaches(training_.coordinator.local_steps));
  EXPECT_TRUE(eventually([&] { return !cluster().tasks_in_flight().empty(); }));
}

// Applied deltas fill the quota long before a snapshot is due.
TEST_F(Operated, AFullSpoolIsEmptiedByASnapshot) {
  constexpr int64_t kDeltas = 4;
  quota_bytes_ = kDeltas * (workload_->layout().size() * 4 + 256);
  training_.coordinator.save_every_steps = std::nullopt;
  open("full", 100'000);
  rig_->add_worker(0, kMillisecond);
  EXPECT_TRUE(reaches(3 * kDeltas * training_.coordinator.local_steps));
  EXPECT_GE(std::ssize(rig_->notices().of("snapshot")), 2);
  EXPECT_LE(cluster().spool().bytes_used(), *quota_bytes_);
}

TEST_F(Operated, AnEvictedWorkerEndsAndItsTaskIsDoneByOthers) {
  open("evicted", 600);
  // Far too slow to be done with its task meanwhile.
  rig_->add_worker(0, kNanosPerSecond);
  ASSERT_TRUE(eventually([&] { return !cluster().tasks_in_flight().empty(); }));
  const Status nobody = cluster().evict(WorkerId(7), "evicted by the operator");
  EXPECT_TRUE(absl::IsNotFound(nobody)) << nobody;
  EXPECT_THAT(std::string(nobody.message()), HasSubstr("got worker 7, want one that is here: 0"));
  ASSERT_TRUE(cluster().evict(WorkerId(0), "evicted by the operator").ok());
  EXPECT_TRUE(cluster().tasks_in_flight().empty());
  EXPECT_FALSE(cluster().roster().attends(WorkerId(0)));
  EXPECT_EQ(cluster().status().workers(0).state(), v1::WorkerStatus::STATE_LOST);
  EXPECT_TRUE(eventually([&] { return !rig_->notices().of("lost").empty(); }));
  EXPECT_THAT(rig_->notices().of("lost"), Contains("worker 0 is lost: evicted by the operator"));
  EXPECT_TRUE(absl::IsNotFound(cluster().evict(WorkerId(0), "again")));

  rig_->add_worker(1, kMillisecond);
  const auto end = rig_->wait();
  ASSERT_TRUE(end.ok()) << end.status();
  const std::vector<Status> ends = rig_->join_workers();
  EXPECT_THAT(std::string(ends[0].message()), HasSubstr("evicted by the operator"));
  EXPECT_TRUE(ends[1].ok()) << ends[1];
  expect_replay(cluster().state_digest());
}

TEST_F(Operated, OnTheVirtualClockTheScriptAloneSaysWhatHappens) {
  training_.coordinator.budget_steps = 100;
  config_ = cluster_config(training_, *workload_, fresh_directory("scripted"));
  config_.script = script_of(training_);
  reopen();
  EXPECT_TRUE(absl::IsFailedPrecondition(cluster().pause(true)));
  EXPECT_TRUE(absl::IsFailedPrecondition(cluster().drain()));
  EXPECT_FALSE(cluster().status().draining());
  ASSERT_TRUE(rig_->stop().ok());
}

TEST_F(Operated, TellsHowItStands) {
  open("told", 1'000'000);
  EXPECT_FALSE(cluster().status().started());
  rig_->add_worker(0, kMillisecond);
  rig_->add_worker(3, 5 * kMillisecond);
  ASSERT_TRUE(reaches(300));
  const v1::StatusReply status = cluster().status();
  EXPECT_EQ(status.run(), cluster().identity().run);
  EXPECT_TRUE(status.started());
  EXPECT_EQ(status.budget_steps(), 1'000'000);
  EXPECT_GE(status.steps(), 300);
  EXPECT_EQ(status.tokens(), status.steps() * training_.worker.batch_sequences);
  EXPECT_GT(status.steps_per_s(), 10);
  EXPECT_LT(status.steps_per_s(), 1300);
  EXPECT_GT(status.applied(), 0);
  EXPECT_EQ(status.rejected(), 0);
  ASSERT_EQ(status.workers_size(), 2);
  EXPECT_EQ(status.workers(0).worker(), 0);
  EXPECT_EQ(status.workers(1).worker(), 3);
  EXPECT_NEAR(status.workers(1).steps_per_s(), 200, 60);
  EXPECT_TRUE(status.workers(0).has_silent_ns());
  // fp32, up and down, and what lies on disk.
  const int64_t model_bytes = 4 * workload_->layout().size();
  EXPECT_GE(status.received_bytes(), status.applied() * model_bytes);
  EXPECT_GE(status.sent_bytes(), status.applied() * model_bytes);
  EXPECT_GE(status.versions_bytes(), model_bytes);
  EXPECT_GT(status.journal_bytes(), 0);
  EXPECT_GT(status.disk_free_bytes(), 0);
  EXPECT_GT(status.journal_syncs(), 0);
  EXPECT_GT(status.journal_sync_ns(), 0);
  EXPECT_LT(status.driver_silent_ns(), 5 * kNanosPerSecond);
  EXPECT_THAT(rig_->notices().of("joined"), Contains(HasSubstr("worker 3 joined")));
}

}  // namespace
}  // namespace rubato
