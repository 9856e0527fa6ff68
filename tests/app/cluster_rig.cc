#include "tests/app/cluster_rig.h"

#include <chrono>
#include <filesystem>
#include <sstream>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "rubato/base/text.h"

namespace rubato {

RunningCluster::RunningCluster(const std::vector<std::string>& more) : more_(more) {
  start_coordinator("127.0.0.1:0");
}

void RunningCluster::start_coordinator(const std::string& listen) {
  const std::string address = path("run/address");
  std::filesystem::remove(address);
  std::vector<std::string> args = {
      "coordinator",  std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml",
      "--set",        "train.budget_local_steps=10000000",
      "--set",        "run.method=async-nesterov",
      "--out",        run_directory(),
      "--listen",     listen,
      "--log-format", "json"};
  args.insert(args.end(), more_.begin(), more_.end());
  coordinator_ = std::make_unique<Process>(args, path("coordinator.txt"));
  EXPECT_TRUE(eventually([&] { return !logged("coordinator", "listening").empty(); }))
      << log("coordinator");
}

void RunningCluster::restart_coordinator() {
  std::string address = contents(path("run/address"));
  address.pop_back();
  start_coordinator(address);
}

void RunningCluster::add_worker(double min_step_s, const std::vector<std::string>& more,
                                std::vector<std::string> launcher) {
  const size_t i = workers_.size();
  std::string address = contents(path("run/address"));
  address.pop_back();
  // Nobody is at the first address; workers go on to the next one.
  const Answer invited =
      rubato({"invite", run_directory(), "--address", "127.0.0.1:1", "--address", address});
  ASSERT_EQ(invited.code, 0) << invited.text;
  const size_t begin = invited.text.find("rubato1");
  const std::string join = invited.text.substr(begin, invited.text.find('\n', begin) - begin);
  secrets_.push_back(join);
  std::vector<std::string> command = std::move(launcher);
  command.insert(command.end(), {std::string(RUBATO_BINARY_DIR) + "/rubato", "worker", join,
                                 "--dir", path(cat("worker-", i)), "--threads", "1", "--min-step-s",
                                 cat(min_step_s), "--log-format", "json", "--log-level", "debug"});
  command.insert(command.end(), more.begin(), more.end());
  workers_.push_back(
      std::make_unique<Process>(Process::of(command, path(cat("worker-", i, ".txt")))));
}

std::vector<nlohmann::json> RunningCluster::logged(const std::string& who,
                                                   const std::string& event) const {
  std::istringstream lines(log(who));
  std::vector<nlohmann::json> found;
  for (std::string line; std::getline(lines, line);) {
    // What ends the program is said in words; results go where a log would not.
    if (!line.starts_with('{')) continue;
    const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    if (object.is_discarded()) {
      EXPECT_TRUE(lines.eof()) << "not an object: " << line;  // or still being written
      continue;
    }
    if (object.value("event", "") == event) found.push_back(object);
  }
  return found;
}

RunningCluster::Answer RunningCluster::rubato(const std::vector<std::string>& args) const {
  const std::string output = path("answer.txt");
  const int code = Process(args, output).wait();
  return {code, contents(output)};
}

nlohmann::json RunningCluster::status() const {
  const Answer answer = rubato({"status", run_directory(), "--json"});
  EXPECT_EQ(answer.code, 0) << answer.text;
  return nlohmann::json::parse(answer.text, nullptr, false);
}

bool RunningCluster::eventually(const std::function<bool()>& done) {
  for (int i = 0; i < 600 && !done(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return done();
}

}  // namespace rubato
