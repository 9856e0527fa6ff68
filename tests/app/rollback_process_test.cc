// A real cluster that is rolled back: its worker begins anew and goes on, and the replay of what
// comes reaches its bits.
#include <algorithm>
#include <csignal>

#include "tests/app/cluster_rig.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/metrics/sink.h"
#include "rubato/store/checkpoint.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

std::vector<int64_t> snapshots(const RunningCluster& cluster) {
  PosixFileSystem files;
  std::vector<int64_t> steps;
  const auto paths = list_checkpoints(files, cluster.run_directory());
  EXPECT_TRUE(paths.ok()) << paths.status();
  for (const std::string& path : *paths) steps.push_back(checkpoint_step(base_name(path)));
  return steps;
}

// Steps of all updates that the run's records tell of.
int64_t recorded_steps(const RunningCluster& cluster) {
  const std::string path = metrics_path(cluster.run_directory());
  RecordLog log;
  EXPECT_TRUE(read_records(path, contents(path), log).ok());
  int64_t steps = 0;
  for (const UpdateRecord& update : log.updates) steps += update.steps;
  return steps;
}

TEST(Rollback, AStoppedRunGoesOnFromAnOlderSnapshot) {
  RunningCluster cluster({"--set", "checkpoint.every_local_steps=100", "--keep-deltas"});
  cluster.add_worker(0.001);
  ASSERT_TRUE(RunningCluster::eventually([&] { return snapshots(cluster).front() >= 500; }))
      << cluster.log("worker-0");
  const std::string& run = cluster.run_directory();
  const auto in_use = cluster.rubato({"rollback", run, "--to", "100"});
  EXPECT_EQ(in_use.code, 1);
  EXPECT_THAT(in_use.text, HasSubstr("got a directory that another process works in"));

  cluster.coordinator().signal(SIGTERM);
  ASSERT_EQ(cluster.coordinator().wait(), 0) << cluster.log("coordinator");
  const int64_t to = snapshots(cluster).at(1);
  const auto listed = cluster.rubato({"rollback", run});
  EXPECT_EQ(listed.code, 0) << listed.text;
  EXPECT_THAT(listed.text, HasSubstr(cat("step ", to, "  loss ")));
  const auto nowhere = cluster.rubato({"rollback", run, "--to", "7"});
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_THAT(nowhere.text, HasSubstr("got step 7, want that of a snapshot: "));
  const auto back = cluster.rubato({"rollback", run, "--to", cat(to)});
  ASSERT_EQ(back.code, 0) << back.text;
  EXPECT_THAT(back.text, HasSubstr(cat("rolled back to step ", to)));
  EXPECT_EQ(snapshots(cluster).front(), to);
  EXPECT_EQ(recorded_steps(cluster), to);
  const auto replayed = cluster.rubato({"replay", run});
  EXPECT_EQ(replayed.code, 0) << replayed.text;
  EXPECT_THAT(replayed.text, HasSubstr(cat("step ", to, " and 1 of ")));

  cluster.restart_coordinator();
  ASSERT_TRUE(RunningCluster::eventually([&] { return snapshots(cluster).front() >= to + 300; }))
      << cluster.log("worker-0");
  EXPECT_EQ(cluster.status().at("incarnation"), 1);
  const auto noticed = cluster.logged("worker-0", "rolled-back");
  ASSERT_EQ(noticed.size(), 1u);
  EXPECT_EQ(noticed[0].at("incarnation"), 1);
  cluster.worker(0).signal(SIGTERM);
  EXPECT_EQ(cluster.worker(0).wait(), 0) << cluster.log("worker-0");
  cluster.coordinator().signal(SIGTERM);
  EXPECT_EQ(cluster.coordinator().wait(), 0);
  const auto again = cluster.rubato({"replay", run});
  EXPECT_EQ(again.code, 0) << again.text;
  EXPECT_THAT(again.text, HasSubstr("equal, bit for bit"));
}

}  // namespace
}  // namespace rubato
