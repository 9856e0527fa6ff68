// Plays scenarios/*.txt and compares literally. After a wanted change of behaviour run
//   coordinator_test --rewrite
// and read the difference before it is committed.
#include "tests/coordinator/scenario.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace rubato {
namespace {

namespace fs = std::filesystem;

bool rewrite = false;

std::vector<std::string> scenario_names() {
  std::vector<std::string> names;
  for (const auto& entry :
       fs::directory_iterator(RUBATO_SOURCE_DIR "/tests/coordinator/scenarios")) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem());
  }
  std::ranges::sort(names);
  return names;
}

class Scenario : public ::testing::TestWithParam<std::string> {};

TEST_P(Scenario, PrintsWhatItPrinted) {
  const std::string path = RUBATO_SOURCE_DIR "/tests/coordinator/scenarios/" + GetParam() + ".txt";
  std::stringstream written;
  written << std::ifstream(path).rdbuf();
  const StatusOr<std::string> played = play_scenario(written.str());
  ASSERT_TRUE(played.ok()) << played.status();
  if (rewrite) {
    std::ofstream(path) << *played;
  } else {
    EXPECT_EQ(written.str(), *played) << path;
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Scenario, ::testing::ValuesIn(scenario_names()),
                         [](const auto& file) { return file.param; });

std::string error_of(const std::string& script) {
  return std::string(play_scenario(script).status().message());
}

TEST(ScenarioLanguage, ErrorsNameTheLine) {
  EXPECT_EQ(error_of("set shards=3 budget=10\n\n0 dance\n"),
            "[scenario] line 3: unknown event dance");
  EXPECT_EQ(error_of("set shoes=3\n"), "[scenario] line 1: unknown setting shoes");
}

}  // namespace
}  // namespace rubato

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i)
    rubato::rewrite = rubato::rewrite || std::string_view(argv[i]) == "--rewrite";
  return RUN_ALL_TESTS();
}
