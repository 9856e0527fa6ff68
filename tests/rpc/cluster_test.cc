// The live cluster against the simulator, and against a replay of its own journal.
#include "rubato/rpc/cluster.h"

#include <algorithm>
#include <map>

#include "tests/rpc/cluster_rig.h"
#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

#include "rubato/base/digest.h"
#include "rubato/rpc/replay.h"

namespace rubato {
namespace {

// A gate by name, or a mode of overlap: then over slow links, under the grace gate. "codecs": what
// travels is lossy in both directions, and the chain asks for the parameters that workers started
// from.
SimulationConfig small_config(const std::string& gate) {
  if (gate == "codecs") {
    SimulationConfig config = small_config("upload");
    config.up_codec = {"int8", {}};
    config.down_codec = {"bf16", {}};
    config.chain = {.links = {"delay_compensation"},
                    .rule = "nesterov",
                    .options = {{"nesterov", {{"lr", 0.1}}}}};
    return config;
  }
  SimulationConfig config = toy_config();
  config.coordinator.budget_steps = 1200;
  config.coordinator.schedule_steps = 1200;
  if (gate == "upload" || gate == "full") {
    config.coordinator.overlap = gate == "full" ? Overlap::kFull : Overlap::kUpload;
    for (SimWorker& worker : config.fleet)
      worker.link = {.down_bytes_per_s = 200, .up_bytes_per_s = 50, .latency = kNanosPerSecond / 4};
    return config;
  }
  config.gate = gate == "grace" ? Choice{"grace", {{"seconds", 0.5}}} : Choice{gate, {}};
  if (gate == "barrier") config.chain = {.links = {}, .rule = "nesterov", .options = {}};
  return config;
}

std::string update_lines(const RecordLog& log) {
  std::string lines;
  for (const UpdateRecord& record : log.updates) lines += to_line(record) + "\n";
  return lines;
}

// Every worker trains as long in both, and what it does not train it waits. Where something travels
// the journal does not know when: then spans may lie elsewhere, and the last wait ends elsewhere.
void expect_same_hours(const RecordLog& cluster, const RecordLog& simulation) {
  const auto spans_of = [](const RecordLog& log) {
    std::map<WorkerId, std::vector<TaskSpan>> spans;
    for (const TaskSpan& span : log.spans) {
      if (span.kind == SpanKind::kTrain || span.kind == SpanKind::kWait)
        spans[span.worker].push_back(span);
    }
    return spans;
  };
  const auto train_ns = [](const std::vector<TaskSpan>& spans) {
    Nanos sum = 0;
    for (const TaskSpan& span : spans)
      sum += span.kind == SpanKind::kTrain ? span.end_ns - span.begin_ns : 0;
    return sum;
  };
  const bool travels = std::ranges::any_of(
      simulation.spans, [](const TaskSpan& span) { return span.kind == SpanKind::kReceive; });
  auto ours = spans_of(cluster), theirs = spans_of(simulation);
  ASSERT_EQ(ours.size(), theirs.size());
  for (auto& [worker, spans] : ours) {
    EXPECT_EQ(train_ns(spans), train_ns(theirs[worker])) << worker;
    for (size_t i = 1; i < spans.size(); ++i)
      EXPECT_EQ(spans[i].begin_ns, spans[i - 1].end_ns) << "worker " << worker << " span " << i;
    if (travels) continue;
    ASSERT_EQ(spans.size(), theirs[worker].size()) << worker;
    for (size_t i = 0; i < spans.size(); ++i)
      EXPECT_EQ(to_line(spans[i]), to_line(theirs[worker][i])) << worker;
  }
}

class VirtualClock : public testing::TestWithParam<const char*> {};

// DESIGN.md, equality (a): one scenario, by the simulator and by a cluster.
TEST_P(VirtualClock, MakesTheSimulatorsBits) {
  SimulationConfig training = small_config(GetParam());
  const auto workload = quadratic_workload();
  const SimRun simulated = run_to_end(training, *workload);

  PosixFileSystem files;
  ClusterConfig config =
      cluster_config(training, *workload, fresh_directory(cat("virtual-", GetParam())));
  config.script = script_of(training);
  config.keep_deltas = true;
  ClusterRig rig(training, *workload, config, files);
  ASSERT_TRUE(rig.open().ok());
  rig.start();
  for (int64_t id = 0; id < 4; ++id) rig.add_worker(id);
  const auto end = rig.wait();
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(*end, Cluster::End::kFinished);
  for (const Status& status : rig.join_workers()) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(digest_of(rig.cluster().theta()), digest_of(simulated.theta));
  EXPECT_EQ(rig.cluster().counts().arrivals, simulated.counts.arrivals);
  EXPECT_EQ(rig.cluster().counts().version, simulated.counts.version);
  EXPECT_EQ(update_lines(rig.sink().log()), update_lines(simulated.log));
  expect_same_hours(rig.sink().log(), simulated.log);

  // Equality (b) of the same run.
  const auto replayed = replay(files, config, workload->layout(), ReplayFrom::kOldest, nullptr);
  ASSERT_TRUE(replayed.ok()) << replayed.status();
  EXPECT_EQ(replayed->first_record, 0);
  EXPECT_EQ(replayed->state_digest, rig.cluster().state_digest());
  EXPECT_EQ(replayed->effects_digest, rig.cluster().effects_digest());
  EXPECT_TRUE(replayed->ledger.balanced());
}

INSTANTIATE_TEST_SUITE_P(Gates, VirtualClock,
                         testing::Values("free", "grace", "barrier", "upload", "full", "codecs"),
                         [](const auto& gate) { return std::string(gate.param); });

// DESIGN.md, equality (b): the journal is the whole truth, over stops and starts.
TEST(Cluster, OnTheRealClockReplaysToTheSameBits) {
  SimulationConfig training = small_config("grace");
  training.coordinator.save_every_steps = 200;
  const auto workload = quadratic_workload();
  PosixFileSystem files;
  ClusterConfig config = cluster_config(training, *workload, fresh_directory("real"));
  config.keep_deltas = true;
  config.lease = 2 * kNanosPerSecond;
  std::string state;
  {
    ClusterRig rig(training, *workload, config, files);
    ASSERT_TRUE(rig.open().ok());
    rig.start();
    for (int64_t id = 0; id < 4; ++id) rig.add_worker(id, (id + 1) * kNanosPerSecond / 2000);
    const auto end = rig.wait();
    ASSERT_TRUE(end.ok()) << end.status();
    for (const Status& status : rig.join_workers()) EXPECT_TRUE(status.ok()) << status;
    state = rig.cluster().state_digest();
    EXPECT_GE(rig.cluster().counts().steps, 1200);
    EXPECT_EQ(std::ssize(rig.sink().log().updates),
              rig.cluster().counts().arrivals + rig.cluster().counts().rejected);
  }
  for (const ReplayFrom from : {ReplayFrom::kOldest, ReplayFrom::kNewest}) {
    const auto replayed = replay(files, config, workload->layout(), from, nullptr);
    ASSERT_TRUE(replayed.ok()) << replayed.status();
    EXPECT_EQ(replayed->state_digest, state);
    EXPECT_TRUE(replayed->ledger.balanced());
  }
}

// Workers really overlap: with the pusher in the background more than one task is in flight.
TEST(Cluster, OverlapKeepsTwoTasksInFlightAndReplays) {
  SimulationConfig training = small_config("full");
  training.gate = {"free", {}};
  const auto workload = quadratic_workload();
  PosixFileSystem files;
  ClusterConfig config = cluster_config(training, *workload, fresh_directory("overlap"));
  config.keep_deltas = true;
  ClusterRig rig(training, *workload, config, files);
  ASSERT_TRUE(rig.open().ok());
  rig.start();
  for (int64_t id = 0; id < 4; ++id)
    rig.add_worker(id, kNanosPerSecond / 1000, std::chrono::milliseconds(15));
  const auto end = rig.wait();
  ASSERT_TRUE(end.ok()) << end.status();
  for (const Status& status : rig.join_workers()) EXPECT_TRUE(status.ok()) << status;
  int64_t wishes = 0, behind = 0;
  std::map<WorkerId, int> in_flight;
  const auto replayed = replay(files, config, workload->layout(), ReplayFrom::kOldest,
                               [&](const LoggedEvent& event, const Effects& effects) {
                                 wishes += std::holds_alternative<TaskWanted>(event.event);
                                 if (const auto* update = std::get_if<UpdateArrived>(&event.event))
                                   --in_flight[update->worker];
                                 for (const Effect& effect : effects) {
                                   if (const auto* dispatch = std::get_if<Dispatch>(&effect))
                                     behind += ++in_flight[dispatch->task.worker] == 2;
                                 }
                               });
  ASSERT_TRUE(replayed.ok()) << replayed.status();
  EXPECT_EQ(replayed->state_digest, rig.cluster().state_digest());
  EXPECT_GT(wishes, 10);
  EXPECT_GT(behind, 10);
}

TEST(Cluster, AStoppedCoordinatorGoesOnWhereItWas) {
  SimulationConfig training = small_config("free");
  const auto workload = quadratic_workload();
  PosixFileSystem files;
  ClusterConfig config = cluster_config(training, *workload, fresh_directory("stopped"));
  config.script = script_of(training);
  std::string stopped_at;
  {
    ClusterRig rig(training, *workload, config, files);
    ASSERT_TRUE(rig.open().ok());
    rig.start();
    rig.add_worker(0);
    rig.add_worker(1);  // two are missing: the clock stands still at the first instant
    while (rig.cluster().roster().attending() < 2) std::this_thread::yield();
    const auto end = rig.stop();
    ASSERT_TRUE(end.ok()) << end.status();
    EXPECT_EQ(*end, Cluster::End::kStopped);
    stopped_at = rig.cluster().state_digest();
  }
  ClusterRig rig(training, *workload, config, files);
  ASSERT_TRUE(rig.open().ok());
  EXPECT_EQ(rig.cluster().state_digest(), stopped_at);
  rig.start();
  for (int64_t id = 0; id < 4; ++id) rig.add_worker(id);
  ASSERT_TRUE(rig.wait().ok());
  EXPECT_EQ(digest_of(rig.cluster().theta()), digest_of(run_to_end(training, *workload).theta));
}

}  // namespace
}  // namespace rubato
