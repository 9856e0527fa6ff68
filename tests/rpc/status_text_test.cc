#include "rubato/rpc/status_text.h"

#include <fstream>

#include "tests/rpc/status_fixture.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace rubato {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

// The first cells of the table behind a line of docs/operating.md.
std::vector<std::string> keys_of_page(const std::string& behind) {
  std::ifstream in(std::string(RUBATO_SOURCE_DIR) + "/docs/operating.md");
  std::vector<std::string> keys;
  bool found = false;
  for (std::string line; std::getline(in, line);) {
    found = found || line == behind;
    if (!found) continue;
    if (line.starts_with("| `")) keys.push_back(line.substr(3, line.find('`', 3) - 3));
    if (!keys.empty() && !line.starts_with('|')) break;
  }
  return keys;
}

TEST(StatusText, ItsJsonHasTheKeysOfThePage) {
  const Json object = Json::parse(status_json(full_status()));
  EXPECT_EQ(keys_of(object), keys_of_page("The keys of `rubato status --json`:"));
  EXPECT_EQ(keys_of(object["workers"][0]), keys_of_page("Each of `workers`:"));
}

TEST(StatusText, ItsJsonSaysWhatTheStatusSays) {
  const Json object = Json::parse(status_json(full_status()));
  EXPECT_EQ(object["state"], "training");
  EXPECT_EQ(object["steps"], 2050);
  EXPECT_EQ(object["uptime_s"], 7505.0);
  EXPECT_EQ(object["workers"].size(), 4u);
  EXPECT_EQ(object["workers"][3]["state"], "lost");
  EXPECT_TRUE(object["workers"][3]["silent_s"].is_null());
  EXPECT_TRUE(object["workers"][0]["steps_per_s"].is_null());
  EXPECT_EQ(object["workers"][1]["silent_s"], 1.5);
  const Json empty = Json::parse(status_json(v1::StatusReply()));
  EXPECT_EQ(empty["state"], "waiting for workers");
  EXPECT_TRUE(empty["loss_nats"].is_null());
  EXPECT_TRUE(empty["spool_quota_bytes"].is_null());
}

TEST(StatusText, APersonReadsItInAFewLines) {
  v1::StatusReply status = full_status();
  const std::string text = status_text(status);
  EXPECT_THAT(text, HasSubstr("training  dn-dylu  run 01234567  up 2:05:05"));
  EXPECT_THAT(text, HasSubstr("2,050 / 8,000 (25.6 %)  4.50 /s  ETA 22:02"));
  EXPECT_THAT(text, HasSubstr("loss 3.2500 at step 2,000"));
  EXPECT_THAT(text, HasSubstr("spool 4.00MB of 2.00GB"));
  EXPECT_THAT(text, HasSubstr("absent"));
  status.set_paused(true);
  EXPECT_THAT(status_text(status), HasSubstr("paused  dn-dylu"));
  status.set_draining(true);
  EXPECT_THAT(status_text(status), HasSubstr("draining  dn-dylu"));
  EXPECT_THAT(status_text(v1::StatusReply()), HasSubstr("no worker has joined yet"));
  EXPECT_THAT(status_text(v1::StatusReply()), Not(HasSubstr("ETA")));
}

}  // namespace
}  // namespace rubato
