#include "rubato/metrics/table.h"

#include <cmath>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<RunSummary> three_runs() {
  std::vector<RunSummary> runs(3);
  runs[0].method = "pretrained";
  runs[0].val_loss_nats = 4;
  runs[1].method = "sync-diloco";
  runs[1].val_loss_nats = 3;
  runs[1].virtual_time_s = 666;
  runs[1].time_to_sync_loss_s = 600;
  runs[2].method = "dn-dylu";
  runs[2].val_loss_nats = 3 + std::log(1.004);
  runs[2].virtual_time_s = 230;
  runs[2].time_to_sync_loss_s = 200;
  for (size_t i : {1u, 2u}) {
    runs[i].tokens = 1'000'000;
    runs[i].server_updates = 50;
    runs[i].utilisation = 0.5;
    runs[i].per_worker = {{1, 1, 1, 1.0, 1.0}};
  }
  runs[2].tokens = 1'150'000;
  return runs;
}

TEST(Table, ComparesWithSyncAtEqualTokens) {
  const Table table = comparison_table(three_runs());
  ASSERT_EQ(table.rows.size(), 3u);
  // 1.15 times the tokens in 230 s is 200 s per million: 3.33 times sooner than 666 s.
  EXPECT_THAT(table.rows[2], ElementsAre("dn-dylu", "1,150,000", "3.0040", "20.17", "+0.40",
                                         "230.0", "3.33", "200.0", "0.00", "0", "50.0"));
  EXPECT_THAT(table.rows[1], ElementsAre("sync-diloco", "1,000,000", "3.0000", "20.09", "0",
                                         "666.0", "1.00", "600.0", "0.00", "0", "50.0"));
  EXPECT_THAT(table.rows[0], ElementsAre("pretrained", "0", "4.0000", "54.60", "+171.83", "0.0",
                                         "-", "-", "-", "-", "-"));
}

TEST(Table, PlainTextIsAlignedAndFitsATerminal) {
  const std::string text = to_plain_text(comparison_table(three_runs()));
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 6u);
  for (const std::string& line : lines) {
    EXPECT_LE(line.size(), 120u);
    EXPECT_NE(line.back(), ' ');
  }
  // Numbers end where the header's rule ends.
  EXPECT_EQ(lines[3].size(), lines[2].size());
  EXPECT_EQ(lines[5].size(), lines[2].size());
  EXPECT_EQ(lines[5].find("3.0040") + 6, lines[4].find("3.0000") + 6);
  EXPECT_THAT(lines[1], HasSubstr("nats"));
}

TEST(Table, MarkdownHasOneCellAColumnAndEscapesBars) {
  std::vector<RunSummary> runs = three_runs();
  runs[2].method = "a|b";
  const std::string text = to_markdown(comparison_table(runs));
  EXPECT_THAT(text, HasSubstr("| --- | ---: |"));
  EXPECT_THAT(text, HasSubstr("| a\\|b | 1,150,000 |"));
  EXPECT_THAT(text, HasSubstr("val loss, nats"));
}

TEST(Table, ColumnsWithoutFiguresAreLeftOut) {
  std::vector<RunSummary> runs = {three_runs()[2]};
  runs[0].time_to_sync_loss_s.reset();
  const Table table = comparison_table(runs);
  EXPECT_THAT(table.rows[0],
              ElementsAre("dn-dylu", "1,150,000", "3.0040", "20.17", "230.0", "0.00", "0", "50.0"));
  EXPECT_EQ(table.columns.size(), 8u);
  EXPECT_EQ(table.columns[4].name, "time");
}

TEST(Table, LabelsTellRunsApart) {
  std::vector<RunSummary> runs(4);
  runs[0].method = "sync-diloco";
  for (size_t i : {1u, 2u, 3u}) runs[i].method = "dn-dylu";
  runs[1].seed = 1;
  runs[2].seed = 2;
  runs[3].seed = 2;
  EXPECT_THAT(run_labels(runs),
              ElementsAre("sync-diloco", "dn-dylu (seed 1)", "dn-dylu (3)", "dn-dylu (4)"));
}

TEST(Table, BaselineIsTheSyncRunOfTheSameSeed) {
  std::vector<RunSummary> runs(4);
  runs[0].method = runs[1].method = "sync-diloco";
  runs[0].seed = 1;
  runs[1].seed = 2;
  runs[2].seed = 2;
  runs[3].seed = 9;
  EXPECT_EQ(sync_baseline(runs, runs[2]), 1u);
  EXPECT_EQ(sync_baseline(runs, runs[3]), 0u);
  EXPECT_EQ(sync_baseline(std::span(runs).subspan(2), runs[2]), std::nullopt);
  EXPECT_TRUE(std::isnan(speedup_vs_sync(runs[2], nullptr)));
}

}  // namespace
}  // namespace rubato
