#include "rubato/metrics/report.h"

#include <algorithm>
#include <limits>
#include <regex>
#include <stack>

#include "tests/metrics/synthetic_runs.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/metrics/format.h"
#include "rubato/metrics/report_plots.h"
#include "rubato/metrics/table.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using testing::HasSubstr;
using testing::Not;

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// Every element that is opened is closed in order; void elements aside.
void expect_balanced(const std::string& page) {
  static const std::regex tag("<(/?)([a-z0-9]+)((?:[^>\"]|\"[^\"]*\")*?)(/?)>");
  std::stack<std::string> open;
  // Style holds ">" of its own.
  const size_t style = page.find("<style>"), style_end = page.find("</style>");
  const std::string body =
      style == std::string::npos ? page : page.substr(0, style) + page.substr(style_end + 8);
  for (std::sregex_iterator it(body.begin(), body.end(), tag), end; it != end; ++it) {
    const std::string name = (*it)[2];
    if (name == "meta" || (*it)[4] == "/") continue;
    if ((*it)[1] != "/") {
      open.push(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << name;
    ASSERT_EQ(open.top(), name);
    open.pop();
  }
  EXPECT_TRUE(open.empty()) << open.top();
}

TEST(Report, HasEverySectionAndAllMethods) {
  const std::vector<RunData> runs = synthetic_runs(20);
  const std::string page = render_report("Five methods on one budget", runs);
  for (const char* part :
       {"<h1>Five methods on one budget</h1>", "5 runs \xc2\xb7 4 workers", "Loss against tokens",
        "Loss against virtual time", "Training loss against tokens",
        "Distance to sync-diloco at equal tokens", "Who trains, who waits", "Staleness",
        "Who contributed what", "<summary>Recipe</summary>",
        "recipe 7d793037a0760186574b0282f2f435e7", "data 5d41402abc4b2a76b9719d911017c592",
        "build 0.1.0", "seed 1"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  for (const RunData& run : runs) EXPECT_THAT(page, HasSubstr(run.summary.method));
  expect_balanced(page);
}

TEST(Report, NeedsNoNetworkAndNoScript) {
  const std::string page = render_report("t", synthetic_runs(20));
  for (const char* part :
       {"http:", "https:", "//", "<script", "<link", "<img", "@import", "src=", "href="}) {
    EXPECT_THAT(page, Not(HasSubstr(part)));
  }
  EXPECT_EQ(count_of(page, "url("), 1u);  // the hatching, inside the page
  EXPECT_THAT(page, HasSubstr("url(#hatch)"));
}

TEST(Report, TableCarriesTheRunsFigures) {
  const std::vector<RunData> runs = synthetic_runs(20);
  const std::string page = render_report("t", runs);
  for (const RunData& run : runs) {
    EXPECT_THAT(page, HasSubstr(cat("<td>", fixed(run.summary.val_loss_nats, 4), "</td>")));
    EXPECT_THAT(page, HasSubstr(cat("<td>", fixed(run.summary.virtual_time_s, 1), "</td>")));
  }
}

TEST(Report, FindingsSayWhatTheFiguresSay) {
  std::vector<RunData> runs(2);
  runs[0].summary.method = "sync-diloco";
  runs[1].summary.method = "dn-dylu";
  for (RunData& run : runs) {
    run.summary.tokens = 1000;
    run.summary.val_loss_nats = 3;
  }
  runs[0].summary.virtual_time_s = 330;
  runs[1].summary.virtual_time_s = 100;
  runs[1].summary.val_loss_nats = 3.002;
  runs[0].summary.time_to_sync_loss_s = 300;
  const std::string never = render_report("t", runs);
  EXPECT_THAT(never, HasSubstr("perplexity 20.13, 0.20 % above sync-diloco&#39;s; the same number "
                               "of tokens 3.30 times sooner; never at sync&#39;s final loss."));
  runs[1].summary.time_to_sync_loss_s = 100;
  EXPECT_THAT(render_report("t", runs),
              HasSubstr("sync&#39;s final loss after 100 virtual seconds, sync itself after 300 "
                        "(3.00 x)"));
}

TEST(Report, EscapesEverythingThatCameFromOutside) {
  std::vector<RunData> runs = synthetic_runs(3);
  const std::string evil = "<script>alert('x')</script>&\"";
  for (RunData& run : runs) {
    run.summary.method = evil + run.summary.method;
    run.summary.build_id = run.summary.data_digest = run.summary.recipe_digest = evil;
    run.recipe = evil;
  }
  const std::string page = render_report(evil, runs);
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"));
  expect_balanced(page);
}

TEST(Report, RunsWithHardlyAnythingAreStillAPage) {
  expect_balanced(render_report("nothing", {}));
  RunData empty;
  expect_balanced(render_report("empty", std::vector<RunData>{empty}));
  RunData diverged;
  diverged.summary.method = "async-nesterov";
  diverged.summary.val_loss_nats = std::numeric_limits<double>::quiet_NaN();
  EvalRecord eval;
  eval.loss_nats = std::numeric_limits<double>::quiet_NaN();
  diverged.log.evals = {eval, eval};
  const std::string page = render_report("diverged", std::vector<RunData>{diverged});
  expect_balanced(page);
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, Not(HasSubstr("inf")));
}

// A loss that grows to 1e76 before it is not a number leaves the frame far behind.
TEST(Report, ARunThatDivergesIsDrawnAsFarAsTheFrameGoes) {
  std::vector<RunData> runs = synthetic_runs(20);
  for (size_t i = 0; i < runs[2].log.evals.size(); ++i) {
    runs[2].log.evals[i].loss_nats = std::pow(10.0, 3 * static_cast<double>(i));
  }
  runs[2].summary.failure = "diverged";
  runs[2].summary.val_loss_nats = std::numeric_limits<double>::quiet_NaN();
  const std::string page = render_report("diverged", runs);
  expect_balanced(page);
  EXPECT_THAT(page, HasSubstr("diverged"));
  EXPECT_LT(page.size(), 2'000'000u);
  expect_balanced(render_report("alone", std::span(runs).subspan(2, 1)));
}

TEST(Report, RunThatStillPretrainsShowsItsCurve) {
  RunData run;
  for (int i = 0; i < 5; ++i) {
    EvalRecord eval;
    eval.phase = RunPhase::kPretrain;
    eval.tokens = 1000 * i;
    eval.loss_nats = 5 - i * 0.5;
    run.log.evals.push_back(eval);
  }
  run.summary = summarise(run.log);
  const std::string page = render_report("t", std::vector<RunData>{run});
  EXPECT_THAT(page, HasSubstr("still running, or stopped"));
  EXPECT_THAT(page, HasSubstr("Loss against tokens"));
}

TEST(Report, ARunWithoutAnEvaluationHasNoLoss) {
  RunData run;
  run.log.spans.push_back(
      {WorkerId(0), TaskId(0), ShardId(0), 0, kNanosPerSecond, SpanKind::kTrain});
  run.summary = summarise(run.log);
  const Table table = comparison_table(std::span(&run.summary, 1));
  ASSERT_GE(table.columns.size(), 4u);
  EXPECT_EQ(table.columns[2].name, "val loss");
  EXPECT_EQ(table.rows[0][2], "-");
  EXPECT_EQ(table.rows[0][3], "-");
  expect_balanced(render_report("t", std::span(&run, 1)));
}

TEST(Report, LongRunsStaySmall) {
  std::vector<RunData> runs(1);
  runs[0].summary.method = "dn-dylu";
  for (int i = 0; i < 50'000; ++i) {
    EvalRecord eval;
    eval.tokens = i;
    eval.virtual_time_ns = i * kNanosPerSecond;
    eval.loss_nats = 3 + 1.0 / (1 + i) + (i % 7) * 0.01;
    runs[0].log.evals.push_back(eval);
    runs[0].log.spans.push_back({WorkerId(i % 40), TaskId(i), ShardId(0), i * kNanosPerSecond,
                                 (i + 1) * kNanosPerSecond, SpanKind::kTrain});
  }
  runs[0].summary.server_updates = 50'000;
  const std::string page = render_report("t", runs);
  EXPECT_LT(page.size(), 200'000u);
  EXPECT_THAT(page, HasSubstr("(the first 16 of 40 workers)"));
}

TEST(ReportPlots, UsualMethodsKeepTheirColoursAndPretrainedIsGrey) {
  std::vector<RunData> runs = synthetic_runs(2);
  const std::vector<ReportRun> shown = report_runs(runs);
  ASSERT_EQ(shown.size(), 5u);
  EXPECT_EQ(shown[0].colour, 0);
  for (int i = 1; i < 5; ++i) EXPECT_EQ(shown[static_cast<size_t>(i)].colour, i);
  EXPECT_EQ(shown[4].sync, &runs[2]);
  std::reverse(runs.begin(), runs.end());
  RunData other;
  other.summary.method = "fedbuff";
  runs.insert(runs.begin(), other);
  const std::vector<ReportRun> turned = report_runs(runs);
  EXPECT_EQ(turned[0].colour, 5);  // none of those that the others need
  for (int i = 1; i < 5; ++i) EXPECT_EQ(turned[static_cast<size_t>(i)].colour, 5 - i);
}

TEST(ReportPlots, SeedsOfOneMethodAreAFamily) {
  std::vector<RunData> runs = synthetic_runs(10);
  for (RunData run : synthetic_runs(10)) {
    run.summary.seed = 2;
    run.summary.val_loss_nats += 0.1;
    runs.push_back(std::move(run));
  }
  const std::vector<ReportRun> shown = report_runs(runs);
  EXPECT_EQ(shown[4].label, "dn-dylu (seed 1)");
  EXPECT_EQ(shown[9].label, "dn-dylu (seed 2)");
  EXPECT_EQ(shown[9].family, "dn-dylu");
  EXPECT_EQ(shown[9].colour, shown[4].colour);
  EXPECT_TRUE(shown[4].leads_family);
  EXPECT_FALSE(shown[9].leads_family);
  EXPECT_EQ(shown[9].sync, &runs[7]);
  EXPECT_EQ(count_of(loss_against_tokens(shown), ">dn-dylu</text>"), 1u);
  const std::string timed = loss_against_time(shown);
  EXPECT_GT(count_of(timed, "class=\"ring"), 2u);
  EXPECT_EQ(count_of(timed, " s</text>"), 2u);  // of sync-diloco and dn-dylu, once each
  EXPECT_EQ(count_of(timelines(shown), "<svg"), 4u);
  EXPECT_EQ(count_of(render_report("t", runs), "(means of 2 seeds)"), 3u);
}

TEST(ReportPlots, RunsOfOneMethodAndSeedKeepTheirOwnColours) {
  const RunData run = synthetic_runs(5)[4];
  const std::vector<RunData> runs = {run, run};
  const std::vector<ReportRun> shown = report_runs(runs);
  EXPECT_EQ(shown[0].family, "dn-dylu (1)");
  EXPECT_EQ(shown[1].family, "dn-dylu (2)");
  EXPECT_NE(shown[0].colour, shown[1].colour);
}

TEST(ReportPlots, TimelineShowsTheWaitingOfSynchronousTraining) {
  const std::vector<RunData> runs = synthetic_runs(20);
  const std::vector<ReportRun> shown = report_runs(runs);
  const std::string sync = timelines({shown[2]});
  // The fastest of four waits 1 - 0.58 / 3.33 of the time.
  EXPECT_THAT(sync, HasSubstr(">83 %</text>"));
  EXPECT_THAT(sync, HasSubstr(">0 %</text>"));
  EXPECT_EQ(count_of(sync, ">worker "), 4u);
  // Worker 0: 5.8 s of training, then waiting until 33.3 s.
  EXPECT_THAT(sync, HasSubstr("training 0.0 - 5.8 s"));
  EXPECT_THAT(sync, HasSubstr("waiting 5.8 - 33.3 s"));
}

TEST(ReportPlots, GapPlotNeedsASynchronousRun) {
  const std::vector<RunData> runs = synthetic_runs(10);
  EXPECT_NE(gap_against_tokens(report_runs(runs)), "");
  const std::vector<RunData> alone = {runs[4]};
  EXPECT_EQ(gap_against_tokens(report_runs(alone)), "");
}

TEST(ReportPlots, RingStandsWhereSyncsLossIsReached) {
  const std::vector<RunData> runs = synthetic_runs(40);
  const std::string plot = loss_against_time(report_runs(runs));
  for (const size_t i : {2u, 4u}) {
    ASSERT_TRUE(runs[i].summary.time_to_sync_loss_s.has_value());
    EXPECT_THAT(plot, HasSubstr(cat(">", fixed(*runs[i].summary.time_to_sync_loss_s, 0), " s</")));
  }
  EXPECT_EQ(count_of(plot, "class=\"ring"), 2u);
}

TEST(Report, IsWrittenWhole) {
  PosixFileSystem files;
  const TemporaryDirectory temporary;
  const std::string path = temporary.path() + "/report.html";
  const std::vector<RunData> runs = synthetic_runs(40);
  ASSERT_TRUE(write_report(files, path, "Five methods on one budget", runs).ok());
  const auto text = files.read_file(path);
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, render_report("Five methods on one budget", runs));
}

}  // namespace
}  // namespace rubato
