// Gates: free, grace (window inclusive, does not slide, timers), barrier.
#include "rubato/schedule/gate.h"

#include <vector>

#include "tests/schedule/make_named.h"
#include <gtest/gtest.h>

#include "rubato/base/rng.h"

namespace rubato {
namespace {

constexpr Nanos kSecond = kNanosPerSecond;
using Times = std::vector<Nanos>;

std::unique_ptr<Gate> gate(const std::string& name,
                           const std::map<std::string, OptionValue>& given = {}) {
  return make_named<GateEntry>(gate_entries(), name, given);
}

std::unique_ptr<Gate> grace(double seconds, double slack_s = 0) {
  return gate("grace", {{"seconds", seconds}, {"slack", slack_s}});
}

TEST(FreeGate, ClosesAtOnce) {
  const Times expected = {11 * kSecond, 500 * kSecond, 9 * kSecond};
  const GateDecision decision =
      gate("free")->decide({.now = 10 * kSecond, .opened = 10 * kSecond, .expected = expected});
  EXPECT_TRUE(decision.close);
  EXPECT_FALSE(decision.why.empty());
  EXPECT_EQ(gate("free")->group_mode(), GroupMode::kEach);
}

TEST(FreeGate, WaitsForAnArrivalOfTheSameInstantAndNoLonger) {
  const Times expected = {10 * kSecond};
  GateView view{.now = 10 * kSecond, .opened = 10 * kSecond, .expected = expected};
  const GateDecision decision = gate("free")->decide(view);
  EXPECT_FALSE(decision.close);
  EXPECT_EQ(decision.wait_until, view.now);
  view.timer_fired = true;
  EXPECT_TRUE(gate("free")->decide(view).close);
}

TEST(GraceGate, ALoneWorkerWaitsNoTime) {
  EXPECT_TRUE(grace(0.5)->decide({.now = 7, .opened = 7, .expected = {}}).close);
  const Times far = {7 + kSecond};
  EXPECT_TRUE(grace(0.5)->decide({.now = 7, .opened = 7, .expected = far}).close);
}

TEST(GraceGate, TheWindowIsInclusive) {
  const Nanos opened = 10 * kSecond, end = opened + kSecond / 2;
  const Times at_end = {end}, behind_end = {end + 1};
  const GateDecision waits =
      grace(0.5)->decide({.now = opened, .opened = opened, .expected = at_end});
  EXPECT_FALSE(waits.close);
  EXPECT_EQ(waits.wait_until, end);
  EXPECT_TRUE(grace(0.5)->decide({.now = opened, .opened = opened, .expected = behind_end}).close);
}

TEST(GraceGate, TheWindowDoesNotSlide) {
  // Second arrival at 10.4; somebody is expected at 10.6, within half a second of it, but not of
  // the first.
  const Nanos opened = 10 * kSecond;
  const Times expected = {opened + kSecond * 6 / 10};
  EXPECT_TRUE(
      grace(0.5)
          ->decide({.now = opened + kSecond * 4 / 10, .opened = opened, .expected = expected})
          .close);
}

TEST(GraceGate, TheTimerIsTheLatestExpectationPlusSlackButNotBeyondTheWindow) {
  const Nanos opened = 10 * kSecond;
  const Times expected = {opened + kSecond, opened + 3 * kSecond, opened + 9 * kSecond};
  const GateView view{.now = opened, .opened = opened, .expected = expected};
  EXPECT_EQ(grace(5, 1)->decide(view).wait_until, opened + 4 * kSecond);
  EXPECT_EQ(grace(5, 20)->decide(view).wait_until, opened + 5 * kSecond);
  // Unless told otherwise it waits to the window's end: an expectation is an average, and half of
  // the arrivals come later.
  EXPECT_EQ(gate("grace", {{"seconds", 5.0}})->decide(view).wait_until, opened + 5 * kSecond);
}

TEST(GraceGate, AnOverdueWorkerIsWaitedForUntilTheSlackEnds) {
  const Nanos opened = 10 * kSecond;
  const Times overdue = {opened - kSecond};
  GateView view{.now = opened, .opened = opened, .expected = overdue};
  const GateDecision decision = grace(5, 2)->decide(view);
  EXPECT_FALSE(decision.close);
  EXPECT_EQ(decision.wait_until, opened + kSecond);
  // Its slack is over: nobody waits any longer than this instant.
  view.now = opened + 3 * kSecond;
  const GateDecision late = grace(5, 2)->decide(view);
  EXPECT_TRUE(late.close || late.wait_until <= view.now);
  view.timer_fired = true;
  EXPECT_TRUE(grace(5, 2)->decide(view).close);
}

TEST(GraceGate, TheTimerEndsTheWait) {
  const Nanos opened = 10 * kSecond;
  const Times expected = {opened + kSecond};
  EXPECT_TRUE(grace(5)
                  ->decide({.now = opened + kSecond,
                            .opened = opened,
                            .expected = expected,
                            .timer_fired = true})
                  .close);
}

TEST(GraceGate, ZeroSecondsWaitOnlyForTies) {
  const Nanos now = 10 * kSecond;
  const Times tie = {now}, next = {now + 1};
  EXPECT_FALSE(grace(0)->decide({.now = now, .opened = now, .expected = tie}).close);
  EXPECT_TRUE(grace(0)->decide({.now = now, .opened = now, .expected = next}).close);
}

// Whatever is expected: it closes when nobody is due in the window, never waits beyond the window
// or into the past, and ends when the timer it asked for goes off.
TEST(GraceGate, Property) {
  Rng rng(4, RngStream::kTest);
  for (int i = 0; i < 20'000; ++i) {
    const auto below = [&](uint64_t bound) { return static_cast<Nanos>(rng.below(bound)); };
    const Nanos length = below(4) * kSecond / 2, opened = 100 * kSecond + below(10);
    GateView view{
        .now = opened + below(static_cast<uint64_t>(length) + 1), .opened = opened, .expected = {}};
    const double slack_s = to_seconds(below(2) * below(kSecond));
    Times expected(rng.below(4));
    bool anyone = false;
    for (Nanos& time : expected) {
      time = opened - kSecond + below(4 * kSecond);
      anyone = anyone || time <= opened + length;
    }
    view.expected = expected;
    const GateDecision decision = grace(to_seconds(length), slack_s)->decide(view);
    ASSERT_EQ(decision.close, !anyone);
    ASSERT_FALSE(decision.why.empty());
    if (decision.close) continue;
    ASSERT_GE(decision.wait_until, view.now);
    ASSERT_LE(decision.wait_until, opened + length);
    view.now = decision.wait_until;
    view.timer_fired = true;
    ASSERT_TRUE(grace(to_seconds(length), slack_s)->decide(view).close);
  }
}

TEST(BarrierGate, WaitsForEverybodyHoweverLate) {
  const Times expected = {1};
  GateView view{.now = 500 * kSecond, .opened = kSecond, .expected = expected};
  const GateDecision decision = gate("barrier")->decide(view);
  EXPECT_FALSE(decision.close);
  EXPECT_EQ(decision.wait_until, GateDecision::kNever);
  view.timer_fired = true;
  EXPECT_FALSE(gate("barrier")->decide(view).close);
  view.expected = {};
  EXPECT_TRUE(gate("barrier")->decide(view).close);
}

TEST(BarrierGate, AveragesByMembersOrByShards) {
  EXPECT_EQ(gate("barrier")->group_mode(), GroupMode::kMean);
  EXPECT_EQ(gate("barrier", {{"weight", std::string("members")}})->group_mode(), GroupMode::kMean);
  EXPECT_EQ(gate("barrier", {{"weight", std::string("shard")}})->group_mode(),
            GroupMode::kShardWeighted);
  EXPECT_EQ(grace(1)->group_mode(), GroupMode::kEach);
}

}  // namespace
}  // namespace rubato
