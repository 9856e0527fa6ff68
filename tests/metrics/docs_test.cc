// docs/metrics.md lists exactly the keys that the program writes, in their order.
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/metrics/record.h"

namespace rubato {
namespace {

/// The first cells of every table of the page, one list a table.
std::vector<std::vector<std::string>> tables_of_page() {
  std::ifstream in(std::string(RUBATO_SOURCE_DIR) + "/docs/metrics.md");
  std::vector<std::vector<std::string>> tables;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("| key |")) tables.emplace_back();
    if (!line.starts_with("| `") || tables.empty()) continue;
    tables.back().push_back(line.substr(3, line.find('`', 3) - 3));
  }
  return tables;
}

std::vector<std::string> keys_of(const nlohmann::ordered_json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

TEST(Docs, TablesAreTheKeysThatAreWritten) {
  const auto tables = tables_of_page();
  ASSERT_EQ(tables.size(), 5u);
  EXPECT_EQ(tables[0], keys_of(to_json(EvalRecord())));
  EXPECT_EQ(tables[1], keys_of(to_json(UpdateRecord())));
  EXPECT_EQ(tables[2], keys_of(to_json(TaskSpan())));
  EXPECT_EQ(tables[3], keys_of(to_json(EventRecord())));
  EXPECT_EQ(tables[4], keys_of(to_json(RunSummary())));
}

}  // namespace
}  // namespace rubato
