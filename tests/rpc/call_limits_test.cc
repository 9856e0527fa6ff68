#include "rubato/rpc/call_limits.h"

#include "tests/rpc/refusals.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(CallGate, LetsSoManyCallsOfOneWorkerIn) {
  CallGate gate(2);
  std::optional<CallGate::Permit> first, second;
  first.emplace(*gate.enter(WorkerId(1)));
  second.emplace(*gate.enter(WorkerId(1)));
  expect_refusal(gate.enter(WorkerId(1)).status(), absl::StatusCode::kResourceExhausted,
                 "[calls] got more than 2 calls");
  EXPECT_TRUE(gate.enter(WorkerId(2)).ok()) << "each worker has places of its own";
  first.reset();
  EXPECT_TRUE(gate.enter(WorkerId(1)).ok());
  EXPECT_TRUE(gate.enter(WorkerId(1)).ok()) << "a place that was given back is free again";
}

TEST(StallWatch, EndsOnceWhatMakesNoProgress) {
  StallWatch watch(kNanosPerSecond / 1000);
  std::atomic<int> ended{0};
  std::atomic<int> looked{0};
  const StallWatch::Guard other(watch, 1, [&] { ++looked; });
  const StallWatch::Guard guard(watch, 3 * kNanosPerSecond / 1000, [&] {
    ++ended;
    ended.notify_all();
  });
  ended.wait(0);
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(looked, 1);
}

TEST(StallWatch, LeavesWhatMakesProgress) {
  StallWatch watch(kNanosPerSecond / 1000);
  std::atomic<int> ended{0};
  std::atomic<int> marks{0};
  {
    StallWatch::Guard guard(watch, 3600 * kNanosPerSecond, [&] { ++ended; });
    const StallWatch::Guard mark(watch, 1, [&] {
      ++marks;
      marks.notify_all();
    });
    marks.wait(0);
    guard.progress();
  }
  EXPECT_EQ(ended, 0);
}

TEST(StallWatch, WhatIsOverIsNotEnded) {
  std::atomic<int> ended{0};
  StallWatch watch(1);
  for (int i = 0; i < 1000; ++i)
    const StallWatch::Guard guard(watch, kNanosPerSecond, [&] { ++ended; });
  EXPECT_EQ(ended, 0);
}

}  // namespace
}  // namespace rubato
