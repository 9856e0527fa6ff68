// The dashboard in a browser: the page of a running and of finished runs draws, complains about
// nothing and takes other people's text for text. Skipped where there is no chromium.
#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <regex>

#include "tests/app/browser.h"
#include "tests/app/process.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/text.h"

namespace rubato {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DashboardPage : public ::testing::Test {
 protected:
  void SetUp() override {
    browser_ = Browser::start(directory_);
    if (!browser_) GTEST_SKIP() << "no chromium here";
  }
  std::vector<std::string> compare(const std::string& methods, std::vector<std::string> more = {}) {
    std::vector<std::string> args = {
        "compare",   std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml",
        "--methods", methods,
        "--out",     directory_ + "/runs"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  // Where the program that writes to `log` says that its page is.
  std::string url_in(const std::string& log) {
    const std::regex line("dashboard: (http://127.0.0.1:[0-9]+/)");
    std::smatch match;
    for (int i = 0; i < 200; ++i) {
      const std::string text = contents(log);
      if (std::regex_search(text, match, line)) return match[1];
      usleep(50'000);
    }
    ADD_FAILURE() << "no page: " << contents(log);
    return "";
  }
  // Colours of a canvas below `selector` that are not the one of its first point.
  int64_t drawn_points(const std::string& selector) {
    return browser_
        ->evaluate(cat("[...document.querySelectorAll('", selector, R"( canvas')].map((canvas) => {
          const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          const points = new Uint32Array(data.buffer);
          return points.filter((point) => point !== points[0]).length;
        }).reduce((a, b) => Math.max(a, b), 0))"))
        .get<int64_t>();
  }

  TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path(), log_ = directory_ + "/log";
  std::unique_ptr<Browser> browser_;
};

constexpr const char* kIsDrawn =
    "document.documentElement.dataset.ready === 'true' && "
    "document.querySelectorAll('#timelines canvas').length > 0 && "
    "document.querySelectorAll('#loss canvas').length > 0";

TEST_F(DashboardPage, OfFinishedRunsDrawsAllChartsWithoutAComplaint) {
  ASSERT_EQ(Process(compare("sync-diloco,dn-dylu"), log_).wait(), 0) << contents(log_);
  Process dashboard({"dashboard", directory_ + "/runs", "--listen", "0"}, log_);
  for (const bool dark : {false, true}) {
    browser_->open(url_in(log_), 1280, 1700, dark);
    ASSERT_TRUE(browser_->wait_for(kIsDrawn));
    for (const char* chart : {"#loss", "#timelines", "#pace", "#busy", "#bytes"})
      EXPECT_GT(drawn_points(chart), 500) << chart;
    // The better one is in focus, and beside it the one that waits.
    EXPECT_EQ(browser_->evaluate("document.querySelector('#focus').selectedOptions[0].textContent"),
              "dn-dylu");
    EXPECT_EQ(browser_->evaluate("document.querySelectorAll('#timelines canvas').length"), 2);
    EXPECT_EQ(browser_->evaluate("document.querySelector('#state').textContent"), "finished");
    EXPECT_EQ(browser_->evaluate("document.querySelectorAll('#workers tbody tr').length"), 4);
    EXPECT_GT(browser_->evaluate("document.querySelectorAll('#staleness div').length"), 2);
    EXPECT_EQ(browser_->evaluate("document.documentElement.scrollWidth > innerWidth"), false);
    EXPECT_GT(browser_->screenshot().size(), 50'000u);
  }
  EXPECT_THAT(browser_->complaints(), IsEmpty());
  dashboard.signal(SIGINT);
  EXPECT_EQ(dashboard.wait(), 0);
}

TEST_F(DashboardPage, ChangesWithEveryChoiceAndFitsATelephone) {
  ASSERT_EQ(Process(compare("sync-diloco,dn-dylu"), log_).wait(), 0) << contents(log_);
  const Process dashboard({"dashboard", directory_ + "/runs/dn-dylu", "--listen", "0"}, log_);
  browser_->open(url_in(log_), 400, 900);
  ASSERT_TRUE(browser_->wait_for(kIsDrawn));
  EXPECT_EQ(browser_->evaluate("document.documentElement.scrollWidth > innerWidth"), false);
  const std::string before = browser_->screenshot();
  browser_->evaluate("document.querySelector('[data-axis=time]').click()");
  EXPECT_THAT(browser_->evaluate("document.querySelector('#loss').getAttribute('aria-label')"),
              HasSubstr("against time"));
  EXPECT_NE(browser_->screenshot(), before);
  browser_->evaluate("document.querySelector('[data-stretch=whole]').click()");
  EXPECT_GT(drawn_points("#timelines"), 500);
  browser_->evaluate("document.querySelectorAll('#runs tbody tr')[1].click()");
  EXPECT_TRUE(browser_->wait_for(
      "document.querySelector('#focus').selectedOptions[0].textContent === "
      "document.querySelectorAll('#runs tbody tr')[1].querySelector('td').title"));
  browser_->evaluate("document.querySelector('#recipe-details').open = true");
  EXPECT_TRUE(
      browser_->wait_for("document.querySelector('#recipe').textContent.includes('[train]')"));
  EXPECT_THAT(browser_->complaints(), IsEmpty());
}

TEST_F(DashboardPage, OfARunningTrainingGoesOnWithIt) {
  Process train({"train", std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml", "--out",
                 directory_ + "/runs/live", "--set", "train.budget_local_steps=100000000", "--set",
                 "eval.every_local_steps=20000", "--dashboard", "0"},
                log_);
  browser_->open(url_in(log_), 1280, 1700);
  ASSERT_TRUE(browser_->wait_for(kIsDrawn));
  EXPECT_EQ(browser_->evaluate("document.querySelector('#state').textContent"), "training");
  const std::string figures = browser_->evaluate("document.querySelector('#figures').textContent");
  EXPECT_TRUE(browser_->wait_for(
      cat("document.querySelector('#figures').textContent !== ", nlohmann::json(figures).dump())));
  EXPECT_THAT(browser_->complaints(), IsEmpty());
  train.signal(SIGKILL);
  EXPECT_EQ(train.wait(), -SIGKILL);
  EXPECT_TRUE(browser_->wait_for(
      "document.querySelector('#state').textContent.includes('does not answer')"));
}

// Whoever writes into a run directory must not write into a page.
TEST_F(DashboardPage, ShowsHostileTextAsText) {
  const std::string name = "<img src=x onerror=alert(1)>";
  ASSERT_EQ(Process(compare("dn-dylu"), log_).wait(), 0) << contents(log_);
  fs::rename(directory_ + "/runs/dn-dylu", directory_ + "/runs/" + name);
  std::ofstream(directory_ + "/runs/" + name + "/events.jsonl", std::ios::app)
      << R"({"kind":"event","virtual_time_ns":5,"text":"<script>document.title='owned'</script>"})"
      << "\n"
      << R"({"kind":"event","virtual_time_ns":6,"text":"<b id=bold>joined</b>"})"
      << "\n";
  const Process dashboard({"dashboard", directory_ + "/runs", "--listen", "0"}, log_);
  browser_->open(url_in(log_), 1280, 1700);
  ASSERT_TRUE(browser_->wait_for(kIsDrawn));
  EXPECT_EQ(browser_->evaluate("document.title"), name + " \xc2\xb7 Rubato");
  EXPECT_EQ(browser_->evaluate("document.querySelectorAll('img, #bold, main script').length"), 0);
  EXPECT_THAT(browser_->evaluate("document.querySelector('#events').textContent"),
              HasSubstr("<b id=bold>joined</b>"));
  EXPECT_THAT(browser_->complaints(), IsEmpty());
}

}  // namespace
}  // namespace rubato
