// What a page is told of a run: bounded, whole, and the same in parts as at once.
#include "rubato/web/run_view.h"

#include <limits>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace rubato {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;

ordered_json all(const RunView& view, int64_t moment = 0) {
  ordered_json out;
  view.write_all(moment, out);
  return out;
}

// A fleet of 100 that trains for a week, an update of each every ten minutes and an evaluation
// every hour; one evaluation is the worst, one the best.
constexpr int64_t kWorkers = 100;
constexpr Nanos kMinute = 60 * kNanosPerSecond;

RecordLog ten_minutes(int64_t round) {
  RecordLog log;
  const Nanos begin = round * 10 * kMinute;
  for (int64_t w = 0; w < kWorkers; ++w) {
    const Nanos end = begin + 9 * kMinute + w;
    const TaskId task(round * kWorkers + w);
    log.updates.push_back({.virtual_time_ns = end,
                           .worker = WorkerId(w),
                           .task = task,
                           .shard = ShardId(0),
                           .steps = 50,
                           .tokens = 6400,
                           .train_loss_nats = 4.0 - 0.001 * static_cast<double>(round),
                           .staleness = w,
                           .version = Version(round),
                           .bytes_down = 1'000'000'000,
                           .bytes_up = 250'000'000,
                           .verdict = w == 99 ? "rejected:norm" : "applied"});
    log.spans.push_back({WorkerId(w), task, ShardId(0), begin, end, SpanKind::kTrain});
    log.spans.push_back({WorkerId(w), task, ShardId(0), end, end + kMinute - w, SpanKind::kWait});
  }
  if (round % 6 == 0) {
    log.evals.push_back({.method = "dn-dylu",
                         .local_steps = round * 5000,
                         .tokens = round * 640'000,
                         .version = Version(round),
                         .virtual_time_ns = begin,
                         .loss_nats = round == 300   ? 9.75
                                      : round == 600 ? 0.125
                                                     : 3.0});
    log.events.push_back({begin, "a checkpoint was written"});
  }
  return log;
}

class AWeekOf100Workers : public ::testing::Test {
 protected:
  static constexpr int64_t kRounds = 7 * 24 * 6;
  static void SetUpTestSuite() {
    view_ = new RunView();
    for (int64_t round = 0; round < kRounds; ++round) view_->add(ten_minutes(round));
  }
  static void TearDownTestSuite() { delete view_; }
  static RunView* view_;
};
RunView* AWeekOf100Workers::view_ = nullptr;

TEST_F(AWeekOf100Workers, IsTenThousandsOfRecordsInLessThanAMegabyte) {
  EXPECT_GT(view_->records(), 300'000);
  EXPECT_LT(all(*view_).dump().size(), 1u << 20);
  ordered_json evals;
  view_->write_evals(0, evals);
  EXPECT_LT(evals.dump().size(), 100u << 10);
}

TEST_F(AWeekOf100Workers, KeepsExtremesAndTheLast) {
  std::set<double> losses;
  int64_t last = -1;
  const ordered_json answer = all(*view_);
  for (const ordered_json& row : answer["evals"]["rows"]) {
    losses.insert(row[6].get<double>());
    last = row[2].get<int64_t>();
  }
  EXPECT_EQ(*losses.begin(), 0.125);
  EXPECT_EQ(*losses.rbegin(), 9.75);
  EXPECT_EQ(last, (kRounds - 6) * 5000);
  EXPECT_EQ(answer["training"]["rows"].back()[1], kRounds * 99 * 50);
}

TEST_F(AWeekOf100Workers, LosesNeitherTimeNorTokens) {
  const ordered_json answer = all(*view_);
  int64_t tokens = 0, rejected = 0, trained = 0, waited = 0;
  for (const ordered_json& row : answer["traffic"]["rows"]) {
    tokens += row[1].get<int64_t>();
    rejected += row[3].get<int64_t>();
    trained += row[6].get<int64_t>();
    waited += row[7].get<int64_t>();
  }
  EXPECT_EQ(tokens, kRounds * 99 * 6400);
  EXPECT_EQ(rejected, kRounds);
  EXPECT_NEAR(static_cast<double>(trained) / 60e6, kRounds * 9.0 * kWorkers, 1);
  EXPECT_NEAR(static_cast<double>(waited) / 60e6, kRounds * 1.0 * kWorkers, 1);
  ASSERT_EQ(answer["lanes"].size(), 100u);
  ASSERT_EQ(answer["workers"]["rows"].size(), 100u);
  EXPECT_EQ(answer["workers"]["rows"][99][6], kRounds);  // all its updates were refused
  EXPECT_EQ(answer["staleness"]["counts"].size(), 64u);
  EXPECT_EQ(answer["staleness"]["max"], 98);
}

TEST_F(AWeekOf100Workers, AFloodOfRejectsHidesNoEvent) {
  int events = 0, rejects = 0;
  const ordered_json answer = all(*view_);
  for (const ordered_json& row : answer["events"]) {
    (row[2] == "event" ? events : rejects) += 1;
  }
  EXPECT_EQ(events, 100);
  EXPECT_EQ(rejects, 100);
}

TEST_F(AWeekOf100Workers, TheNextTenMinutesAreAFewKilobytes) {
  RunView view = *view_;
  const int64_t moment = view.records();
  view.add(ten_minutes(kRounds));
  const std::string fresh = all(view, moment).dump();
  EXPECT_LT(fresh.size(), 50u << 10);
  EXPECT_EQ(all(view, view.records())["lanes"].size(), 0u);
  EXPECT_EQ(all(view, view.records())["evals"]["rows"].size(), 0u);
}

TEST(RunView, TextOfOthersIsShortAndStaysText) {
  RunView view;
  RecordLog log;
  log.events.push_back({5, "<script>alert(1)</script>\n" + std::string(100'000, 'x')});
  UpdateRecord& refused = log.updates.emplace_back();
  refused.worker = WorkerId(3);
  refused.verdict = "rejected:\"</script>";
  view.add(log);
  const ordered_json events = all(view)["events"];
  ASSERT_EQ(events.size(), 2u);
  EXPECT_LT(events[0][3].get<std::string>().size(), 100u);
  EXPECT_THAT(events[0][3].get<std::string>(), HasSubstr("<script>alert(1)</script>?xxx"));
  EXPECT_THAT(events[1][3].get<std::string>(), HasSubstr("rejected:\"</script>"));
}

TEST(RunView, DamagedRecordsAreShownAsFarAsTheyGo) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  RunView view;
  RecordLog log;
  UpdateRecord& update = log.updates.emplace_back();
  update.worker = WorkerId(999'999);
  update.virtual_time_ns = update.workers = update.steps = update.tokens = update.bytes_up = kMost;
  update.train_loss_nats = std::numeric_limits<double>::quiet_NaN();
  update.verdict = "applied";
  log.updates.push_back(log.updates.front());
  log.spans.push_back({WorkerId(999'999), TaskId(-1), ShardId(0), kMost, -kMost});
  log.spans.push_back({WorkerId(0), TaskId(-1), ShardId(0), -kMost, kMost, SpanKind::kLost});
  view.add(log);
  const ordered_json answer = all(view);
  EXPECT_LT(answer.dump().size(), 100u << 10);
  EXPECT_EQ(answer["lanes"].size(), 1u);
  EXPECT_EQ(answer["workers"]["rows"].size(), 256u);
  EXPECT_TRUE(answer["training"]["rows"][0][4].is_null());
}

}  // namespace
}  // namespace rubato
