#include "rubato/app/log.h"

#include <regex>
#include <sstream>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace rubato {
namespace {

using ::testing::HasSubstr;

Notice joined() {
  return {.event = "joined",
          .text = "worker 3 joined, {0} \"quoted\"",
          .facts = {{"worker", int64_t{3}}, {"seconds_per_step", 0.5}, {"name", std::string("a")}}};
}

TEST(Log, JsonIsOneObjectALine) {
  std::ostringstream out;
  Log log({.format = "json"}, out, nullptr);
  log.write(joined());
  log.write({.level = Notice::Level::kWarning, .event = "lost", .text = "\xff\n", .facts = {}});
  std::istringstream lines(out.str());
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const auto first = nlohmann::ordered_json::parse(line);
  std::vector<std::string> keys;
  for (const auto& [key, value] : first.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"time", "level", "event", "message", "worker",
                                            "seconds_per_step", "name"}));
  EXPECT_TRUE(std::regex_match(first["time"].get<std::string>(),
                               std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)")));
  EXPECT_EQ(first["level"], "info");
  EXPECT_EQ(first["message"], "worker 3 joined, {0} \"quoted\"");
  EXPECT_EQ(first["worker"], 3);
  EXPECT_EQ(first["seconds_per_step"], 0.5);
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(nlohmann::json::parse(line)["level"], "warning");
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(Log, TextIsForPeople) {
  std::ostringstream out;
  Log log({}, out, nullptr);
  log.write(joined());
  log.write({.level = Notice::Level::kWarning, .event = "lost", .text = "worker 3", .facts = {}});
  EXPECT_TRUE(std::regex_match(
      out.str(), std::regex("  \\d\\d:\\d\\d:\\d\\d  worker 3 joined, \\{0\\} \"quoted\"\n"
                            "  \\d\\d:\\d\\d:\\d\\d  warning  worker 3\n")))
      << out.str();
}

TEST(Log, BelowItsLevelNothingIsSaid) {
  std::ostringstream out;
  Log log({.format = "text", .level = "warning"}, out, nullptr);
  log.write(joined());
  EXPECT_EQ(out.str(), "");
  log.write({.level = Notice::Level::kError, .event = "x", .text = "said", .facts = {}});
  EXPECT_THAT(out.str(), HasSubstr("said"));
}

TEST(Log, TextLeavesTheLiveLineWhole) {
  std::ostringstream out;
  ProgressPrinter progress(out, true, [] { return Nanos{0}; });
  Log log({}, out, &progress);
  progress.update({.method = "m", .steps_total = 10});
  log.write(joined());
  EXPECT_TRUE(
      std::regex_search(out.str(), std::regex("\r\x1b\\[K  \\d\\d:\\d\\d:\\d\\d  worker 3")))
      << out.str();
}

TEST(Log, LinesOfSeveralThreadsStayWhole) {
  std::ostringstream out;
  Log log({.format = "json"}, out, nullptr);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 200; ++j) log.write(joined());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::istringstream lines(out.str());
  int whole = 0;
  for (std::string line; std::getline(lines, line);) whole += nlohmann::json::accept(line);
  EXPECT_EQ(whole, 800);
}

}  // namespace
}  // namespace rubato
