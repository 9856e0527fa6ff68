// A cluster of real processes over real gRPC. DESIGN.md, equality (a): on the virtual clock it
// makes the history that the simulator makes of the same recipe, to the bit; (b): a replay of its
// journal by another process reaches its final state.
#include <chrono>
#include <filesystem>
#include <thread>

#include "tests/app/process.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/text.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

// The scripted scenario: unequal speeds, a late join, a loss, a rejoin.
const std::vector<std::string> kScenario = {
    "--set", "train.budget_local_steps=600",
    "--set", "fleet.seconds_per_step=[0.58,0.75,1.51,3.33]",
    "--set", "fleet.join_s=[0,0,21.7,0]",
    "--set", "fleet.leave_s=[inf,33.3,inf,inf]",
    "--set", "fleet.return_s=[inf,61.9,inf,inf]",
};

std::string value_of(const std::string& json, const std::string& key) {
  const std::string name = cat("\"", key, "\": \"");
  const size_t at = json.find(name);
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size();
  return json.substr(begin, json.find('"', begin) - begin);
}

struct Played {
  const char* method;
  const char* up_codec;
};

std::string number_of(const std::string& json, const std::string& key) {
  const std::string name = cat("\"", key, "\": ");
  const size_t at = json.find(name);
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size();
  return json.substr(begin, json.find_first_of(",\n}", begin) - begin);
}

class ClusterProcess : public ::testing::TestWithParam<Played> {
 protected:
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }

  std::vector<std::string> with_scenario(std::vector<std::string> args) const {
    args.insert(args.end(), kScenario.begin(), kScenario.end());
    args.insert(args.end(), {"--set", cat("run.method=", GetParam().method), "--set",
                             cat("codec.up=", GetParam().up_codec), "--json"});
    return args;
  }

  bool wait_for_file(const std::string& file) const {
    for (int i = 0; i < 3000 && !std::filesystem::exists(file); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return std::filesystem::exists(file);
  }

  std::string recipe_ = std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml";
  TemporaryDirectory directory_;
};

TEST_P(ClusterProcess, MakesTheSimulatorsBitsAndReplaysItsOwn) {
  Process simulator(with_scenario({"train", recipe_, "--out", path("simulated")}),
                    path("simulated.txt"));
  ASSERT_EQ(simulator.wait(), 0) << contents(path("simulated.txt"));

  Process coordinator(with_scenario({"coordinator", recipe_, "--out", path("run"), "--listen",
                                     "127.0.0.1:0", "--virtual-clock", "--keep-deltas"}),
                      path("coordinator.txt"));
  ASSERT_TRUE(wait_for_file(path("run/address"))) << contents(path("coordinator.txt"));
  std::vector<std::vector<std::string>> commands;
  for (int i = 0; i < 4; ++i) {
    const std::string join = path(cat("join-", i));
    ASSERT_EQ(Process({"invite", path("run")}, join).wait(), 0) << contents(join);
    const std::string text = contents(join);
    std::vector<std::string> command = {
        "worker",    text.substr(text.find("rubato1"), text.find('\n') - text.find("rubato1")),
        "--dir",     path(cat("worker-", i)),
        "--threads", "1"};
    // Identities are given in order, so that worker i is the script's worker i.
    commands.push_back(command);
    command.push_back("--enrol-only");
    ASSERT_EQ(Process(command, path(cat("enrol-", i, ".txt"))).wait(), 0)
        << contents(path(cat("enrol-", i, ".txt")));
  }
  std::vector<Process> workers;
  for (int i = 0; i < 4; ++i)
    workers.emplace_back(commands[static_cast<size_t>(i)], path(cat("worker-", i, ".txt")));
  // The script has worker 1 leave, which ends its process; somebody starts it again.
  EXPECT_EQ(workers[1].wait(), 1);
  EXPECT_THAT(contents(path("worker-1.txt")), HasSubstr("released by the coordinator"));
  Process back(commands[1], path("worker-1-again.txt"));

  ASSERT_EQ(coordinator.wait(), 0) << contents(path("coordinator.txt"));
  EXPECT_EQ(back.wait(), 0) << contents(path("worker-1-again.txt"));
  for (const int i : {0, 2, 3})
    EXPECT_EQ(workers[static_cast<size_t>(i)].wait(), 0)
        << contents(path(cat("worker-", i, ".txt")));

  const std::string simulated = contents(path("simulated/summary.json"));
  const std::string clustered = contents(path("run/summary.json"));
  ASSERT_EQ(value_of(simulated, "params_digest").size(), 32u) << simulated;
  EXPECT_EQ(value_of(clustered, "params_digest"), value_of(simulated, "params_digest"));
  EXPECT_EQ(number_of(clustered, "bytes_up"), number_of(simulated, "bytes_up"));
  EXPECT_EQ(number_of(clustered, "utilisation"), number_of(simulated, "utilisation"));

  ASSERT_EQ(Process({"replay", path("run")}, path("replay.txt")).wait(), 0)
      << contents(path("replay.txt"));
  const std::string replayed = contents(path("replay.txt"));
  EXPECT_THAT(replayed, HasSubstr("equal, bit for bit"));
  EXPECT_THAT(replayed, HasSubstr(value_of(clustered, "params_digest")));
}

// The gates: grace, barrier, quorum. heloco starts its workers ahead of the model and measures its
// deltas against the momentum; quorum-rda merges groups of several versions. With a lossy codec
// what is left over of a delta matters, too, and that a worker which is started again has lost it.
INSTANTIATE_TEST_SUITE_P(Methods, ClusterProcess,
                         testing::Values(Played{"async-nesterov", "fp32"},
                                         Played{"dn-dylu", "fp32"}, Played{"sync-diloco", "fp32"},
                                         Played{"dn-dylu", "int8"}, Played{"heloco", "fp32"},
                                         Played{"quorum-rda", "int8"}),
                         [](const auto& played) {
                           std::string name = cat(played.param.method, played.param.up_codec);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace rubato
