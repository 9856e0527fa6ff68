#include "rubato/app/program.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(Program, WrongUsageIsTwoAndOneLine) {
  for (const auto& args : std::vector<std::vector<std::string>>{
           {}, {"tarin"}, {"describe", "--jsn"}, {"describe", "a", "b", "c"}}) {
    const Outcome outcome = run(args);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, ::testing::StartsWith("rubato: [usage] "));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1);
  }
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
