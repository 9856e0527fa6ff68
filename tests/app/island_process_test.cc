// A worker that is two processes under mpirun, in a cluster of real processes over real gRPC. On
// the virtual clock, where nothing but floats can differ, an island of two ranks of one lane each
// makes the bits of a worker with two lanes.
#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/app/cluster_rig.h"
#include "tests/app/process.h"
#include "tests/island/mpirun.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/text.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

#if defined(RUBATO_HAS_MPI)

std::string value_of(const std::string& json, const std::string& key) {
  const std::string name = cat("\"", key, "\": \"");
  const size_t at = json.find(name);
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size();
  return json.substr(begin, json.find('"', begin) - begin);
}

class IslandProcess : public ::testing::Test {
 protected:
  void SetUp() override {
    run({"prepare", std::string(RUBATO_SOURCE_DIR) + "/src/rubato/base", "--out", path("data"),
         "--shards", "2"},
        "prepare");
    // Without a pretraining, which the coordinator would make with lanes of its own.
    std::string recipe = contents(std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-lm.toml");
    const std::string pretraining = "[pretrain]\nsteps = 20\n";
    const size_t at = recipe.find(pretraining);
    ASSERT_NE(at, std::string::npos);
    std::ofstream(path("recipe.toml")) << recipe.erase(at, pretraining.size());
  }

  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  std::string output(const std::string& name) const { return contents(path(name + ".txt")); }

  void run(const std::vector<std::string>& args, const std::string& name) const {
    ASSERT_EQ(Process(args, path(name + ".txt")).wait(), 0) << output(name);
  }

  // Two workers, 60 local steps.
  std::vector<std::string> with_recipe(std::vector<std::string> args, int lanes) const {
    args.insert(args.begin() + 1, path("recipe.toml"));
    for (const std::string& set :
         {cat("data.directory=", path("data")), std::string("train.budget_local_steps=60"),
          std::string("eval.every_local_steps=30"), std::string("fleet.seconds_per_step=[1.0,1.7]"),
          cat("train.lanes=", lanes)})
      args.insert(args.end(), {"--set", set});
    return args;
  }

  std::string invite() const {
    const std::string output = path("invited.txt");
    EXPECT_EQ(Process({"invite", path("run")}, output).wait(), 0) << contents(output);
    const std::string text = contents(output);
    const size_t begin = text.find("rubato1");
    return text.substr(begin, text.find('\n', begin) - begin);
  }

  // `mpirun .. rubato worker ..` or, of one rank, the worker alone.
  Process start_worker(int i, int ranks) const {
    const std::vector<std::string> args = {"worker",    invite(), "--dir", path(cat("worker-", i)),
                                           "--threads", "1"};
    // Identities are given in order.
    std::vector<std::string> enrol = args;
    enrol.push_back("--enrol-only");
    run(enrol, cat("enrol-", i));
    if (ranks == 1) return Process(args, path(cat("worker-", i, ".txt")));
    return Process::of(island(args, ranks), path(cat("worker-", i, ".txt")));
  }

  static std::vector<std::string> island(const std::vector<std::string>& args, int ranks) {
    std::vector<std::string> command = mpirun(ranks);
    command.push_back(std::string(RUBATO_BINARY_DIR) + "/rubato");
    command.insert(command.end(), args.begin(), args.end());
    return command;
  }

  Process start_coordinator(int lanes, bool virtual_clock = true) const {
    std::vector<std::string> args = {"coordinator", "--out", path("run"), "--listen",
                                     "127.0.0.1:0"};
    if (virtual_clock) args.push_back("--virtual-clock");
    Process coordinator(with_recipe(args, lanes), path("coordinator.txt"));
    EXPECT_TRUE(RunningCluster::eventually([&] {
      return std::filesystem::exists(path("run/address"));
    })) << output("coordinator");
    return coordinator;
  }

  TemporaryDirectory directory_;
};

TEST_F(IslandProcess, TwoRanksOfALaneAreTheBitsOfAWorkerOfTwoLanes) {
  run(with_recipe({"train", "--out", path("simulated")}, 2), "simulated");
  Process coordinator = start_coordinator(1);
  Process first = start_worker(0, 2);
  Process second = start_worker(1, 2);
  EXPECT_EQ(coordinator.wait(), 0) << output("coordinator");
  EXPECT_EQ(first.wait(), 0) << output("worker-0");
  EXPECT_EQ(second.wait(), 0) << output("worker-1");
  const std::string digest = value_of(contents(path("simulated/summary.json")), "params_digest");
  ASSERT_EQ(digest.size(), 32u);
  EXPECT_EQ(value_of(contents(path("run/summary.json")), "params_digest"), digest);
  EXPECT_THAT(output("worker-0"), HasSubstr("an island of 2 processes, here 1 thread"));
  EXPECT_THAT(output("worker-1"), Not(HasSubstr("mpirun"))) << "nothing ended oddly";
}

TEST_F(IslandProcess, WorksBesideAPlainWorker) {
  Process coordinator = start_coordinator(2);
  Process first = start_worker(0, 3);
  Process second = start_worker(1, 1);
  EXPECT_EQ(coordinator.wait(), 0) << output("coordinator");
  EXPECT_EQ(first.wait(), 0) << output("worker-0");
  EXPECT_EQ(second.wait(), 0) << output("worker-1");
  EXPECT_THAT(output("worker-0"), HasSubstr("applied"));
  EXPECT_THAT(output("worker-1"), HasSubstr("applied"));
}

TEST_F(IslandProcess, MoreRanksThanSequencesAreRefusedInALine) {
  Process coordinator = start_coordinator(2);
  Process worker = start_worker(0, 5);
  EXPECT_EQ(worker.wait(), 1);
  EXPECT_THAT(output("worker-0"), HasSubstr("rubato: [island] got 5 ranks for 4 sequences"));
  const size_t first = output("worker-0").find("rubato: [island]");
  EXPECT_EQ(output("worker-0").find("rubato: [island]", first + 1), std::string::npos);
}

// Two directories stand for two machines: what rank 0 got from the coordinator goes on to rank 1.
TEST_F(IslandProcess, TheTextReachesARankThatDoesNotSeeIt) {
  Process coordinator = start_coordinator(2, false);
  std::vector<std::string> command = mpirun(1);
  const std::string join = invite();
  for (const char* machine : {"one", "two"}) {
    std::filesystem::create_directory(path(machine));
    if (machine == std::string("two")) command.insert(command.end(), {":", "-n", "1"});
    command.insert(command.end(),
                   {"--wdir", path(machine), std::string(RUBATO_BINARY_DIR) + "/rubato", "worker",
                    join, "--dir", "work", "--threads", "1"});
  }
  Process worker = Process::of(command, path("worker.txt"));
  EXPECT_EQ(coordinator.wait(), 0) << output("coordinator");
  EXPECT_EQ(worker.wait(), 0) << output("worker");
  int texts = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path("two")))
    texts += entry.path().extension() == ".tokens";
  EXPECT_EQ(texts, 3) << "two shards and the validation text";
}

// mpirun passes on that it is to end; the worker hands in what is done and says so.
TEST(IslandStop, TheIslandHandsInAndLeaves) {
  RunningCluster cluster;
  cluster.add_worker(0.02, {}, mpirun(2));
  ASSERT_TRUE(RunningCluster::eventually([&] {
    return !cluster.logged("worker-0", "task").empty();
  })) << cluster.log("worker-0");
  cluster.worker(0).signal(SIGTERM);
  cluster.worker(0).wait();  // mpirun's code says that it was stopped, whatever its processes say
  EXPECT_TRUE(RunningCluster::eventually([&] {
    return !cluster.logged("coordinator", "lost").empty();
  })) << cluster.log("worker-0");
  EXPECT_THAT(cluster.log("coordinator"), HasSubstr("it said goodbye"));
}

#else

TEST(IslandProcess, IsBuilt) { GTEST_SKIP() << "this build has no MPI; install libopenmpi-dev"; }

#endif

}  // namespace
}  // namespace rubato
