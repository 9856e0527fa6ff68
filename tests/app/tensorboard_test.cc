// Event files as `train --tensorboard` writes them, read by programs that nobody here wrote.
#include "rubato/metrics/tensorboard.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/app/process.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/app/program.h"
#include "rubato/metrics/run_data.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using nlohmann::json;

class TensorBoard : public ::testing::Test {
 protected:
  void train(const std::string& out, std::vector<std::string> more = {}) {
    std::vector<std::string> args = {
        "train",         std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml",
        "--out",         directory_ + "/" + out,
        "--tensorboard", board_};
    args.insert(args.end(), more.begin(), more.end());
    std::ostringstream text, err;
    ASSERT_EQ(run_program(args, {text, err}), kExitOk) << err.str();
  }
  // Until npm has brought the package, or skips.
  bool has_reader() {
    if (std::filesystem::exists(modules_ + "/tfrecord")) return true;
    std::filesystem::create_directories(modules_ + "/..");
    const std::string install =
        "npm install --no-audit --no-fund --ignore-scripts --fetch-retries 0 --prefix " + modules_ +
        "/.. tfrecord@0.2.0 protobufjs@6";
    return Process::of({"bash", "-c", "command -v node npm && timeout 100 " + install}, log_)
               .wait() == 0;
  }
  int read(const std::string& file) {
    return Process::of({"node", std::string(RUBATO_SOURCE_DIR) + "/tests/app/tensorboard_reader.js",
                        modules_, file},
                       log_)
        .wait();
  }

  TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path(), board_ = directory_ + "/board";
  const std::string event_file_ = board_ + "/" + kEventFile, log_ = directory_ + "/log";
  const std::string modules_ = std::string(RUBATO_BINARY_DIR) + "/npm/tfrecord/node_modules";
};

TEST_F(TensorBoard, TfrecordReadsEveryEvaluationAndRefusesAFlippedBit) {
  if (!has_reader()) GTEST_SKIP() << "no npm, or it is not reachable: " << contents(log_);
  train("run");
  ASSERT_EQ(read(event_file_), 0) << contents(log_);
  std::map<int64_t, double> losses;
  std::istringstream lines(contents(log_));
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(json::parse(line), (json{{"version", "brain.Event:2"}}));
  int updates = 0;
  while (std::getline(lines, line)) {
    const json scalar = json::parse(line);
    if (scalar["tag"] == "validation/loss_nats") losses[scalar["step"]] = scalar["value"];
    updates += scalar["tag"] == "train/loss_nats";
  }
  PosixFileSystem files;
  const auto run = load_run(files, directory_ + "/run");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(updates, run->summary.arrivals);
  size_t evals = 0;
  for (const EvalRecord& eval : run->log.evals) {
    if (eval.phase == RunPhase::kPretrain) continue;
    ++evals;
    EXPECT_FLOAT_EQ(static_cast<float>(losses[eval.local_steps]),
                    static_cast<float>(eval.loss_nats))
        << eval.local_steps;
  }
  EXPECT_EQ(losses.size(), evals);

  std::string bytes = contents(event_file_);
  bytes[bytes.size() / 2] ^= 4;
  std::ofstream(event_file_, std::ios::binary) << bytes;
  EXPECT_EQ(read(event_file_), 1);
  EXPECT_THAT(contents(log_), ::testing::HasSubstr("CRC32C"));
}

TEST_F(TensorBoard, AResumedRunHasEveryScalarOnce) {
  train("run");
  const std::string whole = contents(event_file_);
  train("run", {"--resume"});
  EXPECT_EQ(contents(event_file_).size(), whole.size());
}

}  // namespace
}  // namespace rubato
