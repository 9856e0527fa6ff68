// The hours of tasks, worked out by hand: parameters and deltas of 4000 bytes.
#include "rubato/worker/worker_clock.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr Nanos s(double seconds) { return from_seconds(seconds); }

// 1 s down, 2 s up, a quarter of a second of latency; a step takes 1 s.
const Link kLink = {.down_bytes_per_s = 4000, .up_bytes_per_s = 2000, .latency = s(0.25)};

WorkerClock clock_of(Overlap overlap, const Link& link = kLink) {
  return {link, s(1), overlap, {.down_bytes = 4000, .up_bytes = 4000}};
}

TEST(Link, BusyTimeIsRoundedUpAndEnds) {
  EXPECT_EQ(busy_time(4000, std::nullopt), 0);
  EXPECT_EQ(busy_time(0, 7), 0);
  EXPECT_EQ(busy_time(1, kNanosPerSecond), 1);
  EXPECT_EQ(busy_time(1, kNanosPerSecond + 1), 1);
  EXPECT_EQ(busy_time(10, 3), 3'333'333'334);
  EXPECT_EQ(busy_time(int64_t{1} << 40, 1), kLongestTime);
}

TEST(Link, TheCodecsSayHowMuchTravels) {
  const auto fp32 = make_codec("fp32").value(), bf16 = make_codec("bf16").value();
  EXPECT_EQ(payload_of(*fp32, *bf16, 1000).up_bytes, 4000);
  EXPECT_EQ(payload_of(*fp32, *bf16, 1000).down_bytes, 2000);
}

TEST(WorkerClock, EachDirectionTakesAsLongAsItsBytes) {
  WorkerClock clock(kLink, s(1), Overlap::kNone, {.down_bytes = 2000, .up_bytes = 1000});
  const TaskTimes times = clock.plan(0, 1);
  EXPECT_EQ(times.begins, s(0.75));
  EXPECT_EQ(times.arrives, s(0.75 + 1 + 0.75));
}

TEST(WorkerClock, ALinkThatTakesNoTimeLeavesOnlyTheSteps) {
  for (const Overlap overlap : {Overlap::kNone, Overlap::kUpload, Overlap::kFull}) {
    const TaskTimes times = clock_of(overlap, {}).plan(s(3), 10);
    EXPECT_EQ(times, (TaskTimes{.dispatched = s(3),
                                .receives = s(3),
                                .received = s(3),
                                .begins = s(3),
                                .ends = s(13),
                                .sends = s(13),
                                .arrives = s(13),
                                .asks = s(13)}));
  }
}

TEST(WorkerClock, ATaskIsReceivedTrainedAndSent) {
  const TaskTimes want = {.dispatched = s(3),
                          .receives = s(3),
                          .received = s(4.25),
                          .begins = s(4.25),
                          .ends = s(14.25),
                          .sends = s(14.25),
                          .arrives = s(16.5),
                          .asks = 0};
  for (const auto& [overlap, asks] : {std::pair{Overlap::kNone, s(16.5)},
                                      {Overlap::kUpload, s(14.5)},
                                      // Sent 1.5 s before the steps are done: there and back again.
                                      {Overlap::kFull, s(13)}}) {
    TaskTimes times = clock_of(overlap).plan(s(3), 10);
    EXPECT_EQ(times.asks, asks);
    times.asks = 0;
    EXPECT_EQ(times, want);
  }
}

TEST(WorkerClock, FullOverlapLeavesNoGap) {
  WorkerClock clock = clock_of(Overlap::kFull);
  TaskTimes before = clock.plan(0, 10);
  for (int i = 0; i < 5; ++i) {
    const TaskTimes next = clock.plan(before.asks, 10);
    EXPECT_EQ(next.received, before.ends);
    EXPECT_EQ(next.begins, before.ends);
    before = next;
  }
}

TEST(WorkerClock, OneTransferAtATimeInEachDirection) {
  WorkerClock clock = clock_of(Overlap::kUpload);
  clock.plan(0, 1);                         // trains 1.25 - 2.25, sends 2.25 - 4.25
  const TaskTimes next = clock.plan(0, 1);  // at the same moment
  EXPECT_EQ(next.receives, s(1));           // latency keeps nothing busy
  EXPECT_EQ(next.received, s(2.25));
  EXPECT_EQ(next.begins, s(2.25));
  EXPECT_EQ(next.ends, s(3.25));
  EXPECT_EQ(next.sends, s(4.25));
  EXPECT_EQ(next.arrives, s(6.5));
}

TEST(WorkerClock, StepsWaitForTheTaskBeforeThem) {
  WorkerClock clock = clock_of(Overlap::kUpload);
  clock.plan(0, 10);  // trains until 11.25
  const TaskTimes next = clock.plan(s(5), 2);
  EXPECT_EQ(next.received, s(6.25));
  EXPECT_EQ(next.begins, s(11.25));
  EXPECT_EQ(next.ends, s(13.25));
}

TEST(WorkerClock, NobodyAsksWhileItStillReceives) {
  WorkerClock clock = clock_of(Overlap::kFull, {.down_bytes_per_s = 400});
  const TaskTimes times = clock.plan(0, 2);  // 10 s down, 2 s of training
  EXPECT_EQ(times.begins, s(10));
  EXPECT_EQ(times.asks, s(10));
}

TEST(WorkerClock, AfterALossNothingIsInTheWay) {
  WorkerClock clock = clock_of(Overlap::kUpload);
  clock.plan(0, 100);
  clock.reset();
  EXPECT_EQ(clock.plan(s(5), 10), clock_of(Overlap::kUpload).plan(s(5), 10));
}

}  // namespace
}  // namespace rubato
