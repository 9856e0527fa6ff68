#include "rubato/rpc/rate_window.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(RateWindow, IsTheGrowthOverTheLastMinute) {
  RateWindow window;
  EXPECT_EQ(window.per_s(0), 0);
  window.add(0, 100);
  EXPECT_EQ(window.per_s(0), 0);
  // Two a second, said ten times a second.
  Nanos now = 0;
  for (int i = 1; i <= 1200; ++i) window.add(now = i * kNanosPerSecond / 10, 100 + i / 5);
  EXPECT_NEAR(window.per_s(now), 2, 0.05);
  // Then a hundred times faster: a minute later the slow time is forgotten.
  for (int i = 1; i <= 650; ++i) window.add(now += kNanosPerSecond / 10, 340 + 20 * i);
  EXPECT_NEAR(window.per_s(now), 200, 5);
}

TEST(RateWindow, FallsWhileNothingComes) {
  RateWindow window;
  window.add(0, 0);
  window.add(10 * kNanosPerSecond, 1000);
  EXPECT_NEAR(window.per_s(10 * kNanosPerSecond), 100, 1e-9);
  EXPECT_NEAR(window.per_s(20 * kNanosPerSecond), 50, 1e-9);
  EXPECT_EQ(window.per_s(300 * kNanosPerSecond), 0);
}

TEST(RateWindow, ATotalThatDoesNotGrowIsARateOfNothing) {
  RateWindow window;
  for (int i = 0; i < 10'000; ++i) window.add(i * kNanosPerSecond / 50, 7);
  EXPECT_EQ(window.per_s(200 * kNanosPerSecond), 0);
}

}  // namespace
}  // namespace rubato
