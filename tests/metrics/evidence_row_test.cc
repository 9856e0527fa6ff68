#include "rubato/metrics/evidence_row.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

using ::testing::HasSubstr;

EvidenceRow sample() {
  EvidenceRow row;
  row.experiment = "table1";
  row.cell = "very";
  row.row = "sync-diloco";
  row.date = "2026-11-25";
  row.processor = "a processor";
  row.losses_digest = "l";
  row.seconds_per_step = {0.5, 2.0};
  row.outer_rounds = 4;
  row.summary.method = "sync-diloco";
  row.summary.seed = 3;
  row.summary.val_loss_nats = 2.5;
  row.summary.virtual_time_s = 80;
  row.summary.time_to_sync_loss_s = 60;
  row.summary.utilisation = 0.625;
  row.summary.per_worker = {{4, 40, 100, 20, 60}, {4, 40, 100, 80, 0}};
  row.curve_tokens = {0, 100, 200};
  row.curve_time_s = {0, 40, 80};
  row.curve_loss_nats = {3.0, std::nan(""), 2.5};
  return row;
}

TEST(EvidenceRow, ReadsWhatItWrote) {
  const std::string line = to_line(sample()) + "\n";
  std::vector<EvidenceRow> rows;
  const auto sound = read_evidence_rows("f", line + line, rows);
  ASSERT_TRUE(sound.ok()) << sound.status();
  EXPECT_EQ(*sound, 2 * line.size());
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(to_line(rows[1]) + "\n", line);
  EXPECT_EQ(rows[0].summary.seed, 3u);
  EXPECT_TRUE(std::isnan(rows[0].curve_loss_nats[1]));
}

TEST(EvidenceRow, TheTornEndOfAKilledProcessIsLeftOut) {
  const std::string line = to_line(sample()) + "\n";
  for (const size_t torn : {size_t{1}, line.size() / 2, line.size() - 1}) {
    std::vector<EvidenceRow> rows;
    const auto sound = read_evidence_rows("f", line + line.substr(0, torn), rows);
    ASSERT_TRUE(sound.ok()) << sound.status();
    EXPECT_EQ(*sound, line.size());
    EXPECT_EQ(rows.size(), 1u);
  }
}

TEST(EvidenceRow, AnyOtherBadLineIsAnErrorWithItsNumber) {
  const std::string line = to_line(sample()) + "\n";
  std::string short_curve = line;
  short_curve.replace(short_curve.find("[0.0,40.0,80.0]"), 15, "[0.0,40.0]");
  for (const std::string& bad : {std::string("{}\n"), std::string("words\n"), short_curve}) {
    std::vector<EvidenceRow> rows;
    const auto sound = read_evidence_rows("f", line + bad, rows);
    EXPECT_TRUE(absl::IsDataLoss(sound.status())) << bad;
    EXPECT_THAT(std::string(sound.status().message()), HasSubstr("[f] line 2"));
  }
}

TEST(EvidenceRow, AnotherFleetsClockIsThatOfItsSlowest) {
  const EvidenceRow row = at_speeds(sample(), {1.0, 1.0});
  EXPECT_EQ(row.curve_time_s, (std::vector<double>{0, 20, 40}));
  EXPECT_EQ(row.summary.virtual_time_s, 40);
  EXPECT_EQ(row.summary.time_to_sync_loss_s, 30);
  EXPECT_EQ(row.summary.per_worker[0].train_s, 40);
  EXPECT_EQ(row.summary.per_worker[0].wait_s, 0);
  EXPECT_EQ(row.summary.utilisation, 1);
  EXPECT_EQ(row.summary.val_loss_nats, 2.5);
}

TEST(EvidenceRow, TimeToALossIsOfTheFirstEvaluationThatHasIt) {
  EXPECT_EQ(time_to_loss(sample(), 2.6), 80);
  EXPECT_EQ(time_to_loss(sample(), 3.5), 0);
  EXPECT_TRUE(std::isnan(time_to_loss(sample(), 2.4)));
}

}  // namespace
}  // namespace rubato
