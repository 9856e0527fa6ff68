// Gates: free, grace (window inclusive, does not slide, timers), barrier, quorum.
#include "rubato/schedule/gate.h"

#include <algorithm>
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
  const Times expected = {9 * kSecond, 11 * kSecond, 500 * kSecond};
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
    std::ranges::sort(expected);
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
  EXPECT_EQ(gate("barrier", {{"weight", std::string("tokens")}})->group_mode(),
            GroupMode::kTokenWeighted);
  EXPECT_EQ(grace(1)->group_mode(), GroupMode::kEach);
}

std::unique_ptr<Gate> quorum(int64_t deltas, double grace) {
  return gate("quorum", {{"deltas", deltas}, {"grace", grace}});
}

TEST(QuorumGate, WaitsForKHoweverLateAndNoLonger) {
  const Times two = {1 * kSecond, 2 * kSecond}, three = {1 * kSecond, 2 * kSecond, 9 * kSecond};
  const Times expected = {50 * kSecond, 60 * kSecond};
  const Times more = {8 * kSecond, 50 * kSecond, 60 * kSecond};
  GateView view{.now = 8 * kSecond, .expected = more, .arrived = two, .shortest_task = kSecond};
  const GateDecision before = quorum(3, 0)->decide(view);
  EXPECT_FALSE(before.close);
  EXPECT_EQ(before.wait_until, GateDecision::kNever) << "nobody is dropped for being late";
  view = {.now = 9 * kSecond, .expected = expected, .arrived = three, .shortest_task = kSecond};
  EXPECT_TRUE(quorum(3, 0)->decide(view).close);
  EXPECT_FALSE(quorum(3, 0)->rounds());
}

TEST(QuorumGate, GraceIsAShareOfTheShortestTaskBehindTheKthDelta) {
  const Times arrived = {10 * kSecond, 12 * kSecond};
  const Times at_end = {14 * kSecond}, behind_end = {14 * kSecond + 1};
  GateView view{
      .now = 12 * kSecond, .expected = at_end, .arrived = arrived, .shortest_task = 8 * kSecond};
  const GateDecision waits = quorum(2, 0.25)->decide(view);  // until 12 s + 8 s / 4
  EXPECT_FALSE(waits.close);
  EXPECT_EQ(waits.wait_until, 14 * kSecond);
  view.expected = behind_end;
  EXPECT_TRUE(quorum(2, 0.25)->decide(view).close);
  // Later members of the group do not make the window slide.
  const Times three = {10 * kSecond, 12 * kSecond, 13 * kSecond}, next = {15 * kSecond};
  view = {.now = 13 * kSecond, .expected = next, .arrived = three, .shortest_task = 8 * kSecond};
  EXPECT_TRUE(quorum(2, 0.25)->decide(view).close);
}

TEST(QuorumGate, AnOverdueWorkerIsWaitedForUntilTheTimer) {
  const Times arrived = {10 * kSecond}, late = {9 * kSecond};
  GateView view{
      .now = 10 * kSecond, .expected = late, .arrived = arrived, .shortest_task = kSecond};
  const GateDecision waits = quorum(1, 1)->decide(view);
  EXPECT_FALSE(waits.close);
  view.now = waits.wait_until;
  view.timer_fired = true;
  EXPECT_TRUE(quorum(1, 1)->decide(view).close);
}

TEST(QuorumGate, OfAllIsABarrierWhateverItsGrace) {
  Rng rng(3, RngStream::kTest, 1);
  for (int draw = 0; draw < 2000; ++draw) {
    Times arrived, expected;
    for (uint64_t n = rng.below(5); n > 0; --n) arrived.push_back(static_cast<Nanos>(rng.below(9)));
    for (uint64_t n = rng.below(5); n > 0; --n)
      expected.push_back(static_cast<Nanos>(rng.below(30)));
    std::ranges::sort(arrived);
    const GateView view{.now = 10,
                        .expected = expected,
                        .timer_fired = rng.below(2) == 1,
                        .arrived = arrived,
                        .shortest_task = static_cast<Nanos>(rng.below(9))};
    const GateDecision want = gate("barrier")->decide(view);
    const GateDecision got = quorum(4096, static_cast<double>(rng.below(3)))->decide(view);
    EXPECT_EQ(got.close, want.close);
    EXPECT_EQ(got.wait_until, want.wait_until);
  }
}

TEST(QuorumGate, IsHalfOfThoseWhoTakePartUnlessToldOtherwise) {
  const Times two = {1, 2}, out_two = {100, 200}, out_three = {100, 200, 300};
  const auto closes = [&](const Times& expected) {
    return gate("quorum", {{"grace", 0.0}})
        ->decide({.now = 2, .expected = expected, .arrived = two, .shortest_task = 1})
        .close;
  };
  EXPECT_TRUE(closes(out_two));
  EXPECT_FALSE(closes(out_three)) << "three of five";
}

TEST(QuorumGate, NoGraceIsTooLongForTheClock) {
  const Times arrived = {kSecond}, expected = {GateDecision::kNever / 8};
  const GateView view{.now = kSecond,
                      .expected = expected,
                      .arrived = arrived,
                      .shortest_task = GateDecision::kNever / 8};
  EXPECT_EQ(quorum(1, 1e6)->decide(view).wait_until, GateDecision::kNever / 8);
}

TEST(QuorumGate, WeightsByTokensUnlessToldOtherwise) {
  EXPECT_EQ(gate("quorum")->group_mode(), GroupMode::kTokenWeighted);
  EXPECT_EQ(gate("quorum", {{"weight", std::string("members")}})->group_mode(), GroupMode::kMean);
}

}  // namespace
}  // namespace rubato
