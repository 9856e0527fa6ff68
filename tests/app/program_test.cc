#include "rubato/app/program.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/app/build_id.h"
#include "rubato/lm/step_profile.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

struct Outcome {
  int code = 0;
  std::string out, err;
};

Outcome run(const std::vector<std::string>& args) {
  std::ostringstream out, err;
  const int code = run_program(args, {out, err});
  return {code, out.str(), err.str()};
}

TEST(Program, HelpFitsAScreenAndShowsAnExample) {
  const Outcome outcome = run({"--help"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("Example:"));
  EXPECT_LE(std::ranges::count(outcome.out, '\n'), 40);
}

TEST(Program, VersionIsThatOfTheRecords) {
  const Outcome outcome = run({"--version"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "rubato " + build_id() + "\n");
}

TEST(Program, AnUnknownSubcommandIsNamedWithTheNearest) {
  EXPECT_EQ(run({"tarin"}).err, "rubato: [usage] unknown subcommand tarin (did you mean train?)\n");
}

TEST(Program, ADirectoryThatIsNoRunIsCalledSo) {
  for (const char* command : {"eval", "sample"}) {
    const Outcome outcome = run({command, "/nowhere/run"});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, ::testing::StartsWith(
                                 "rubato: [run] /nowhere/run: got no run and no checkpoint, want"));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1);
  }
}

TEST(Program, ACheckpointIsOfOneModel) {
  const TemporaryDirectory temporary;
  const std::string out = temporary.path() + "/run";
  const Outcome trained =
      run({"train", std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml", "--out", out});
  ASSERT_EQ(trained.code, 0) << trained.err;
  for (const char* command : {"eval", "sample"}) {
    EXPECT_EQ(run({command, out, "--set", "model.kind=toy"}).err,
              "rubato: [recipe] --set: model.kind: got another model, want the one that the "
              "checkpoint holds; leave it out\n");
  }
  EXPECT_EQ(run({"eval", out}).code, 0);
}

TEST(Program, TheEnginesBenchSaysWhereTheTimeGoes) {
  const Outcome outcome =
      run({"bench", "engine", "--shapes", "a", "--seconds", "0.1", "--threads", "2", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const size_t last_line = outcome.out.rfind('\n', outcome.out.size() - 2) + 1;
  const auto json = nlohmann::json::parse(outcome.out.substr(last_line));
  ASSERT_EQ(json["rows"].size(), 1u);
  const auto& row = json["rows"][0];
  EXPECT_EQ(row["shape"], "a");
  EXPECT_EQ(row["products"], "fp32");
  EXPECT_GE(row["steps"], 20);
  EXPECT_GT(row["memory_bytes"], 0);
  EXPECT_GT(row["share_of_peak"], 0.0);
  EXPECT_LT(row["share_of_peak"], 1.0);
  double parts_ms = 0;
  for (const auto& [name, ms] : row["part_ms"].items()) {
    EXPECT_GT(ms, 0.0) << name;
    parts_ms += ms.get<double>();
  }
  EXPECT_EQ(row["part_ms"].size(), kStepPartNames.size());
  EXPECT_GT(parts_ms, 0.3 * row["step_ms_best"].get<double>()) << "the parts make up the step";
}

// More than any machine has: said before it is asked for, and nothing is left behind.
TEST(Program, TooLittleMemoryIsOneLine) {
  const Outcome outcome =
      run({"train", std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml", "--set",
           "quadratic.dim=1000000000", "--set", "quadratic.shards=4096", "--out", "too-large"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, ::testing::AllOf(HasSubstr("quadratic.dim"), HasSubstr("want")));
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1);
  EXPECT_FALSE(std::filesystem::exists("too-large"));
}

// A disk that is full under somebody's `> file`.
TEST(Program, OutputThatCannotBeWrittenIsAnError) {
  for (const char* word : {"describe", "--help", "--version"}) {
    std::ofstream full("/dev/full");
    std::ostringstream err;
    const std::vector<std::string> args = {word};
    EXPECT_EQ(run_program(args, {full, err}), kExitError) << word;
    EXPECT_THAT(err.str(), HasSubstr("[output] could not be written"));
  }
}

TEST(Program, WrongUsageIsTwoAndOneLine) {
  for (const auto& args : std::vector<std::vector<std::string>>{
           {}, {"tarin"}, {"describe", "--jsn"}, {"describe", "a", "b", "c"}}) {
    const Outcome outcome = run(args);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, ::testing::StartsWith("rubato: [usage] "));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1);
  }
}

TEST(Program, NumbersOutOfRangeAreRefusedWithTheRange) {
  const std::string recipe = std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml";
  for (const char* seed : {"-1", "1000000000001", "99999999999999999999", "1e30"}) {
    for (const auto& args :
         std::vector<std::vector<std::string>>{{"sample", "run", "--seed", seed},
                                               {"prepare", "text", "--out", "data", "--seed", seed},
                                               {"tune", recipe, "--seed", seed},
                                               {"compare", recipe, "--seeds", cat("1,", seed)}}) {
      const Outcome outcome = run(args);
      EXPECT_EQ(outcome.code, 2) << args[0] << " " << seed;
      EXPECT_THAT(outcome.err, HasSubstr("not in range 0 to 1000000000000"));
    }
  }
  const Outcome heat = run({"sample", "run", "--temperature", "nan"});
  EXPECT_EQ(heat.code, 2);
  EXPECT_THAT(heat.err, HasSubstr("Value nan not in range 0 to 100"));
}

TEST(Program, ASetKeyThatAFlagDecidesOrNobodyReadsIsRefused) {
  const std::string recipe = std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml";
  const TemporaryDirectory temporary;
  const auto refusal = [&](std::vector<std::string> args, const std::string& set) {
    args.insert(args.begin() + 1, recipe);
    args.insert(args.end(), {"--set", set, "--out", temporary.path() + "/out"});
    const Outcome outcome = run(args);
    EXPECT_EQ(outcome.code, 1) << args[0] << " " << set;
    return outcome.err;
  };
  EXPECT_EQ(refusal({"compare", "--seeds", "3"}, "run.seed=9"),
            "rubato: [recipe] --set: run.seed: got a value that --seeds decides, want it from "
            "there alone\n");
  const auto decided = [](const char* flag) { return HasSubstr(cat("that ", flag, " decides")); };
  const char* methods = "compare.methods=[\"dn\"]";
  EXPECT_THAT(refusal({"compare", "--methods", "dn"}, methods), decided("--methods"));
  EXPECT_THAT(refusal({"tune", "--methods", "dn"}, methods), decided("--methods"));
  EXPECT_THAT(refusal({"tune", "--grid", "0.7"}, "tune.grid=[0.1]"), decided("--grid"));
  EXPECT_THAT(refusal({"tune", "--grid", "0.7"}, "tune.factors=[2.0]"), decided("--grid"));
  EXPECT_THAT(refusal({"tune"}, "run.seed=9"), decided("--seed"));
  const auto unread = HasSubstr("got a key that this command does not read");
  EXPECT_THAT(refusal({"train"}, methods), unread);
  EXPECT_THAT(refusal({"train"}, "tune.grid=[0.1]"), unread);
  EXPECT_THAT(refusal({"compare"}, "tune.grid=[0.1]"), unread);
  EXPECT_THAT(refusal({"tune"}, "compare.extend=2"), unread);
}

TEST(Program, AnErrorIsOneAndOneLineOnStderr) {
  const Outcome outcome = run({"describe", "rule", "nestrov"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "rubato: [describe] unknown rule nestrov (did you mean nesterov?)\n");
}

TEST(Program, DescribePrints) {
  EXPECT_THAT(run({"describe", "rule", "sgd"}).out, HasSubstr("rule sgd: "));
  EXPECT_THAT(run({"describe", "--json"}).out, ::testing::StartsWith("{\"kinds\":["));
}

}  // namespace
}  // namespace rubato
