// The program as a process: signals and exit codes.
#include "tests/app/process.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "rubato/base/text.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

class ProcessTest : public ::testing::Test {
 protected:
  std::vector<std::string> train(const std::string& out, std::vector<std::string> more = {}) {
    std::vector<std::string> args = {
        "train", std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml", "--out",
        directory_ + "/" + out};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  // Until the run has evaluated something, so that a signal meets it at work.
  void wait_until_at_work(const std::string& out) {
    for (int i = 0; i < 2000; ++i) {
      if (contents(directory_ + "/" + out + "/metrics.jsonl").find("\"train\"") !=
          std::string::npos) {
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    FAIL() << "the run did not begin: " << contents(directory_ + "/log");
  }
  TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path();
};

/// A variable of this process's children, while one lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

// oneDNN's own switch makes the processor an older one. What was trained with bf16 elsewhere may
// be looked at here; only training wants the instructions.
TEST_F(ProcessTest, Bf16ProductsAreRefusedByAProcessorWithoutThem) {
  const std::string log = directory_ + "/log", source = RUBATO_SOURCE_DIR;
  const std::string data = directory_ + "/data", out = directory_ + "/run";
  ASSERT_EQ(
      Process({"prepare", source + "/src/rubato/lm", "--out", data, "--vocab", "400"}, log).wait(),
      0)
      << contents(log);
  const Variable older("DNNL_MAX_CPU_ISA", "AVX512_CORE");
  const std::string refusal =
      "rubato: [engine] got products bf16 on a processor without "
      "instructions for them, want AVX512_BF16 or AMX";
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"train", source + "/recipes/demo.toml", "--set", "data.directory=" + data, "--set",
            "train.products=bf16", "--out", out},
           {"bench", "engine", "--shapes", "demo", "--products", "bf16"}}) {
    EXPECT_EQ(Process(args, log).wait(), 1);
    EXPECT_THAT(contents(log), ::testing::StartsWith(refusal));
    EXPECT_EQ(std::ranges::count(contents(log), '\n'), 1);
  }
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST_F(ProcessTest, OneCtrlCSavesAndTheRunGoesOnToTheSameEnd) {
  const std::vector<std::string> longer = {"--set", "train.budget_local_steps=40000",
                                           "--set", "eval.every_local_steps=2000",
                                           "--set", "checkpoint.every_local_steps=10000"};
  const std::string log = directory_ + "/log";
  ASSERT_EQ(Process(train("whole", longer), log).wait(), 0) << contents(log);

  Process interrupted(train("parts", longer), log);
  wait_until_at_work("parts");
  interrupted.signal(SIGINT);
  interrupted.signal(SIGINT);  // as a shell and a wrapper may both pass it on
  ASSERT_EQ(interrupted.wait(), 130) << contents(log);
  EXPECT_THAT(contents(log), HasSubstr("rubato: interrupted; "));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/parts/summary.json"));

  std::vector<std::string> resume = longer;
  resume.push_back("--resume");
  ASSERT_EQ(Process(train("parts", resume), log).wait(), 0) << contents(log);
  const auto digest = [&](const std::string& run) {
    const std::string summary = contents(directory_ + "/" + run + "/summary.json");
    const size_t at = summary.find("\"params_digest\"");
    return at == std::string::npos ? summary : summary.substr(at, 52);
  };
  EXPECT_EQ(digest("parts"), digest("whole"));
}

TEST_F(ProcessTest, TwoProcessesDoNotShareARunDirectory) {
  const std::string log = directory_ + "/log", other = directory_ + "/other-log";
  const std::vector<std::string> endless = {"--set", "train.budget_local_steps=100000000", "--set",
                                            "eval.every_local_steps=2000"};
  Process first(train("r", endless), log);
  wait_until_at_work("r");
  std::vector<std::string> resume = endless;
  resume.push_back("--resume");
  EXPECT_EQ(Process(train("r", resume), other).wait(), 1);
  EXPECT_THAT(contents(other), HasSubstr("got a directory that another process works in"));
  first.signal(SIGKILL);
  EXPECT_EQ(first.wait(), -SIGKILL);
  EXPECT_EQ(Process(train("r"), other).wait(), 1);  // a killed process leaves no lock
  EXPECT_THAT(contents(other), HasSubstr("got a directory that holds a run"));
}

// A command that waits for a file cannot look at the first signal; the second one ends it.
TEST_F(ProcessTest, ASecondSignalEndsWhatCannotLookAtTheFirst) {
  const std::string log = directory_ + "/log", pipe = directory_ + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const int second : {SIGINT, SIGTERM}) {
    Process waiting({"prepare", pipe, "--out", directory_ + "/data"}, log);
    for (int i = 0; i < 2000 && !waiting.catches(SIGINT); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // until it opens the pipe
    waiting.signal(SIGINT);
    // The same signal twice at once is one Ctrl-C.
    std::this_thread::sleep_for(std::chrono::milliseconds(second == SIGINT ? 700 : 50));
    waiting.signal(second);
    EXPECT_EQ(waiting.wait(), -second) << contents(log);
  }
}

TEST_F(ProcessTest, ClosedStreamsTakeNothingFromTheRecords) {
  const std::string log = directory_ + "/log";
  for (const int closed : {0, 2}) {
    const std::string out = cat("closed-", closed);
    ASSERT_EQ(Process(train(out), log, closed).wait(), 0) << contents(log);
    EXPECT_EQ(Process({"report", directory_ + "/" + out}, log).wait(), 0) << contents(log);
  }
  EXPECT_EQ(Process({"describe"}, log, 1).wait(), 1);
  EXPECT_THAT(contents(log), HasSubstr("[output] could not be written"));
}

TEST_F(ProcessTest, ResumingWhatIsNotThereIsAnError) {
  const std::string log = directory_ + "/log";
  EXPECT_EQ(Process(train("mistyped", {"--resume"}), log).wait(), 1);
  EXPECT_THAT(contents(log), HasSubstr("got no run there, want one to continue"));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/mistyped"));
}

TEST_F(ProcessTest, DivergenceEndsTrainingWithAnErrorAndAComparisonWithARow) {
  const std::string log = directory_ + "/log";
  const std::vector<std::string> wild = {"--set", "outer.nesterov.lr=100", "--set",
                                         "door.norm_action=off"};
  std::vector<std::string> alone = wild;
  alone.insert(alone.end(), {"--set", "run.method=sync-diloco"});
  EXPECT_EQ(Process(train("alone", alone), log).wait(), 1);
  EXPECT_THAT(contents(log), HasSubstr("last good checkpoint: "));

  std::vector<std::string> args = train("both", wild);
  args[0] = "compare";
  args.insert(args.end(), {"--methods", "sync-diloco,dn"});
  EXPECT_EQ(Process(args, log).wait(), 0) << contents(log);
  EXPECT_THAT(contents(log), HasSubstr("note: sync-diloco diverged: "));
  EXPECT_THAT(contents(log), HasSubstr("\nreport: "));
  EXPECT_THAT(contents(directory_ + "/both/comparison.json"),
              HasSubstr("\"failure\": \"diverged\""));
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/both/report.html"));
}

TEST_F(ProcessTest, TuningWithoutAMethodIsAnError) {
  const std::string log = directory_ + "/log";
  std::vector<std::string> args = train("t", {"--set", "compare.methods=[\"pretrained\"]"});
  args[0] = "tune";
  EXPECT_EQ(Process(args, log).wait(), 1);
  EXPECT_THAT(contents(log), HasSubstr("[tune] got no method with a step to tune"));
}

TEST_F(ProcessTest, ResumingATuningThatIsNotThereIsAnError) {
  const std::string log = directory_ + "/log";
  std::vector<std::string> args = train("mistyped", {"--resume"});
  args[0] = "tune";
  EXPECT_EQ(Process(args, log).wait(), 1);
  EXPECT_THAT(contents(log), HasSubstr("got no tuning there, want one to continue"));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/mistyped"));
}

TEST_F(ProcessTest, ExitCodes) {
  const std::string log = directory_ + "/log";
  EXPECT_EQ(Process({"describe"}, log).wait(), 0);
  EXPECT_EQ(Process({"describe", "rule", "none"}, log).wait(), 1);
  EXPECT_EQ(Process({"nonsense"}, log).wait(), 2);
}

}  // namespace
}  // namespace rubato
