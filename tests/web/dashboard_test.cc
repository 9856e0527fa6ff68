// What the dashboard hands out, without a browser.
#include "rubato/web/dashboard.h"

#include <chrono>
#include <regex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/metrics/sink.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class DashboardTest : public ::testing::Test {
 protected:
  DashboardTest() {
    EXPECT_TRUE(files_.make_directories("runs/a").ok());
    JsonlSink sink = *JsonlSink::open(files_, "runs/a");
    sink.on_event({5, "</script><b>\xff"});
    EvalRecord eval;
    eval.loss_nats = 2.5;
    sink.on_eval(eval);
    EXPECT_TRUE(files_.replace_file("runs/a/recipe.toml", "<html>").ok());
    dashboard_ = std::make_unique<Dashboard>(files_, gallery_of(files_, "runs"));
    pages_ = dashboard_->pages();
    for (int i = 0; i < 500 && ask("/api/runs").body.find("\"records\":2") == std::string::npos;
         ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  HttpPage ask(const std::string& path, const HttpQuery& query = {}) {
    return pages_.at(path)(query);
  }
  MemoryFileSystem files_;
  std::unique_ptr<Dashboard> dashboard_;
  HttpPages pages_;
};

TEST_F(DashboardTest, ThePageNamesOnlyFilesThatItHas) {
  const HttpPage page = ask("/");
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  const std::regex named(R"re((?:href|src)="([^"]*)")re"), imported(R"(from '\./([^']*)')");
  int found = 0;
  for (const auto& [path, ask_for] : pages_) {
    if (path.starts_with("/api/")) continue;
    const std::string text = ask_for({}).body;
    EXPECT_THAT(text, Not(HasSubstr("sourceMappingURL=dygraph.min.js"))) << path;
    for (const std::regex& pattern : {named, imported}) {
      if (path == "/dygraph.min.js") continue;
      for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) {
        EXPECT_TRUE(pages_.contains(cat("/", (*it)[1].str()))) << path << ": " << (*it)[1];
        ++found;
      }
    }
  }
  EXPECT_GE(found, 8);
}

TEST_F(DashboardTest, AnswersAreJsonAndText) {
  const json list = json::parse(ask("/api/runs").body);
  EXPECT_EQ(list["runs"][0]["records"], 2);
  const HttpPage run = ask("/api/run", {{"id", "0"}, {"epoch", "0"}, {"since", "0"}});
  EXPECT_EQ(run.content_type, "application/json; charset=utf-8");
  const json all = json::parse(run.body);  // what is no UTF-8 is replaced
  EXPECT_THAT(all["events"][0][3].get<std::string>(), HasSubstr("</script><b>"));
  const json evals = json::parse(
      ask("/api/run", {{"id", "0"}, {"epoch", "0"}, {"since", "1"}, {"only", "evals"}}).body);
  EXPECT_FALSE(evals.contains("events"));
  const HttpPage recipe = ask("/api/recipe", {{"id", "0"}});
  EXPECT_EQ(recipe.content_type, "text/plain; charset=utf-8");
  EXPECT_EQ(recipe.body, "<html>");
}

TEST_F(DashboardTest, WhatIsNoRunIsNotThere) {
  for (const char* id : {"", "1", "-1", "0x0", "../a", "99999999999999999999", "0 "}) {
    EXPECT_EQ(ask("/api/run", {{"id", id}}).code, 404) << id;
    EXPECT_EQ(ask("/api/recipe", {{"id", id}}).code, 404) << id;
  }
  EXPECT_EQ(ask("/api/run").code, 404);
}

}  // namespace
}  // namespace rubato
