// Prometheus' text format, read as strictly as Prometheus reads it and somewhat more: a family has
// HELP and TYPE in this order, its samples behind them, together, and no sample comes twice.
// Source: prometheus.io/docs/instrumenting/exposition_formats, /docs/practices/naming.
#include "rubato/rpc/metrics_text.h"

#include <charconv>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "tests/rpc/status_fixture.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

struct Family {
  std::string type, help;
  std::map<std::string, double> samples;  // by labels, as they are written
};

// Every family by name; failures for whatever is not well-formed.
std::map<std::string, Family> parse(const std::string& text) {
  std::map<std::string, Family> families;
  std::string current;
  EXPECT_TRUE(text.ends_with('\n'));
  std::istringstream lines(text);
  const std::regex help("# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ([^\\\\]+)");
  const std::regex type("# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary)");
  const std::regex sample(
      R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="[^"\\]*"\})? (\S+))re");
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, help)) {
      current = match[1];
      EXPECT_FALSE(families.contains(current)) << "twice: " << line;
      families[current].help = match[2];
    } else if (std::regex_match(line, match, type)) {
      EXPECT_EQ(match[1], current) << "TYPE comes behind its HELP: " << line;
      families[current].type = match[2];
    } else if (std::regex_match(line, match, sample)) {
      EXPECT_EQ(match[1], current) << "outside its family: " << line;
      EXPECT_NE(families[current].type, "") << line;
      const std::string number = match[3];
      double value = 0;
      const auto [end, error] =
          std::from_chars(number.data(), number.data() + number.size(), value);
      EXPECT_TRUE(error == std::errc() && end == number.data() + number.size()) << line;
      EXPECT_TRUE(families[current].samples.emplace(match[2], value).second) << "twice: " << line;
    } else {
      ADD_FAILURE() << "neither HELP, TYPE nor a sample: " << line;
    }
  }
  return families;
}

TEST(MetricsText, IsWellFormedAndNamedAsPrometheusWantsIt) {
  const auto families = parse(metrics_text(full_status()));
  EXPECT_GE(families.size(), 20u);
  for (const auto& [name, family] : families) {
    EXPECT_TRUE(name.starts_with("rubato_")) << name;
    EXPECT_EQ(name.ends_with("_total"), family.type == "counter") << name;
    EXPECT_FALSE(family.samples.empty()) << name;
    EXPECT_TRUE(family.help.ends_with('.')) << name;
  }
}

TEST(MetricsText, SaysWhatTheStatusSays) {
  const auto families = parse(metrics_text(full_status()));
  EXPECT_EQ(families.at("rubato_steps_total").samples.at(""), 2050);
  EXPECT_EQ(families.at("rubato_version").samples.at(""), 41);
  const auto& updates = families.at("rubato_updates_total").samples;
  EXPECT_EQ(updates.at("{verdict=\"applied\"}"), 40);
  EXPECT_EQ(updates.at("{verdict=\"discarded\"}"), 1);
  EXPECT_EQ(updates.at("{verdict=\"rejected\"}"), 2);
  for (const char* state : {"training", "waiting", "absent", "lost"}) {
    EXPECT_EQ(families.at("rubato_workers").samples.at(std::string("{state=\"") + state + "\"}"), 1)
        << state;
  }
  EXPECT_EQ(families.at("rubato_validation_loss_nats").samples.at(""), 3.25);
  EXPECT_EQ(families.at("rubato_journal_sync_seconds_total").samples.at(""), 0.25);
  EXPECT_EQ(families.at("rubato_events_waiting").samples.at(""), 5);
}

TEST(MetricsText, WhatIsAbsentIsNotThere) {
  const auto families = parse(metrics_text(v1::StatusReply()));
  EXPECT_FALSE(families.contains("rubato_validation_loss_nats"));
  EXPECT_FALSE(families.contains("rubato_spool_quota_bytes"));
  EXPECT_TRUE(families.contains("rubato_steps_total"));
}

TEST(MetricsText, ThePageListsEveryFamily) {
  std::ifstream in(std::string(RUBATO_SOURCE_DIR) + "/docs/operating.md");
  std::map<std::string, std::string> listed;  // name, type
  const std::regex row(R"(\| `(rubato_\w+)(\{\w+\})?` \| (counter|gauge) \|.*)");
  for (std::string line; std::getline(in, line);) {
    std::smatch match;
    if (std::regex_match(line, match, row)) listed[match[1]] = match[3];
  }
  std::map<std::string, std::string> written;
  for (const auto& [name, family] : parse(metrics_text(full_status()))) written[name] = family.type;
  EXPECT_EQ(listed, written);
}

}  // namespace
}  // namespace rubato
