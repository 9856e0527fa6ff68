// What deploy/ gives to Prometheus and Grafana: every expression names metrics that the coordinator
// has, and Prometheus' own tool takes the metrics, the alerts and the dashboard's expressions.
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "tests/app/process.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <yaml-cpp/yaml.h>

#include "rubato/base/text.h"
#include "rubato/rpc/metrics_text.h"

namespace rubato {
namespace {

using ::testing::Contains;

const std::string kDeployed = std::string(RUBATO_SOURCE_DIR) + "/deploy/grafana/";

std::string metrics_page() {
  v1::StatusReply status;
  status.set_loss_nats(3.25);
  status.set_spool_quota_bytes(1 << 30);
  return metrics_text(status);
}

std::set<std::string> words_like(const std::string& text, const char* pattern) {
  const std::regex word(pattern);
  std::set<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), word), end; it != end; ++it)
    found.insert((*it)[1]);
  return found;
}

// With the variables of a dashboard as Grafana would fill them in.
std::vector<std::string> dashboard_expressions() {
  const auto board = nlohmann::json::parse(contents(kDeployed + "rubato.json"));
  std::vector<std::string> expressions;
  for (const auto& panel : board["panels"])
    for (const auto& target : panel["targets"]) expressions.push_back(target["expr"]);
  for (const auto& mark : board["annotations"]["list"]) expressions.push_back(mark["expr"]);
  for (std::string& expression : expressions) {
    expression = std::regex_replace(expression, std::regex(R"(\$__rate_interval)"), "1m");
    expression = std::regex_replace(expression, std::regex(R"(\$(job|instance))"), "any");
  }
  return expressions;
}

TEST(Grafana, EveryExpressionNamesMetricsThatThereAre) {
  const std::set<std::string> known = words_like(metrics_page(), R"(# TYPE (\w+) )");
  ASSERT_GE(known.size(), 20u);
  std::string all;
  for (const std::string& expression : dashboard_expressions()) {
    EXPECT_FALSE(words_like(expression, R"((rubato_\w+))").empty()) << expression;
    all += expression + "\n";
  }
  const YAML::Node alerts = YAML::LoadFile(kDeployed + "alerts.yml");
  for (const YAML::Node& rule : alerts["groups"][0]["rules"])
    all += rule["expr"].as<std::string>() + "\n";
  const std::set<std::string> used = words_like(all, R"((rubato_\w+))");
  for (const std::string& name : used) EXPECT_THAT(known, Contains(name));
  EXPECT_GE(used.size(), 18u);
}

TEST(Grafana, PanelsNeitherOverlapNorLeaveTheScreen) {
  const auto board = nlohmann::json::parse(contents(kDeployed + "rubato.json"));
  std::set<std::pair<int, int>> taken;
  std::set<int> ids;
  for (const auto& panel : board["panels"]) {
    EXPECT_TRUE(ids.insert(panel["id"].get<int>()).second);
    const auto& at = panel["gridPos"];
    EXPECT_LE(at["x"].get<int>() + at["w"].get<int>(), 24);
    for (int x = at["x"]; x < at["x"].get<int>() + at["w"].get<int>(); ++x)
      for (int y = at["y"]; y < at["y"].get<int>() + at["h"].get<int>(); ++y)
        EXPECT_TRUE(taken.emplace(x, y).second) << panel["title"];
  }
}

class Promtool : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists("/usr/bin/promtool")) GTEST_SKIP() << "no promtool here";
  }
  void expect_taken(const std::string& command) {
    const std::string log = temporary_.path() + "/log";
    EXPECT_EQ(Process::of({"bash", "-c", command}, log).wait(), 0) << contents(log);
  }
  TemporaryDirectory temporary_;
};

TEST_F(Promtool, TakesTheMetrics) {
  const std::string page = temporary_.path() + "/metrics";
  std::ofstream(page) << metrics_page();
  expect_taken("promtool check metrics < " + page);
}

TEST_F(Promtool, TakesTheAlertsAndTheDashboardsExpressions) {
  expect_taken("promtool check rules " + kDeployed + "alerts.yml");
  YAML::Node rules;
  int count = 0;
  for (const std::string& expression : dashboard_expressions()) {
    YAML::Node rule;
    rule["record"] = cat("panel:", count++);
    rule["expr"] = expression;
    rules.push_back(rule);
  }
  YAML::Node group, file;
  group["name"] = "panels";
  group["rules"] = rules;
  file["groups"].push_back(group);
  const std::string path = temporary_.path() + "/panels.yml";
  std::ofstream(path) << file;
  expect_taken("promtool check rules " + path);
}

}  // namespace
}  // namespace rubato
