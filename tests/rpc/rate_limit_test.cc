#include "rubato/rpc/rate_limit.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr WorkerId kOne(1), kTwo(2);

int take_all(RateLimit& limit, WorkerId worker, Nanos now) {
  int taken = 0;
  while (limit.take(worker, now)) ++taken;
  return taken;
}

TEST(RateLimit, GivesABurstThenOneEachInterval) {
  RateLimit limit({.burst = 3, .interval = 10});
  EXPECT_EQ(take_all(limit, kOne, 100), 3);
  EXPECT_EQ(take_all(limit, kOne, 109), 0);
  EXPECT_EQ(take_all(limit, kOne, 110), 1);
  EXPECT_EQ(take_all(limit, kOne, 135), 2);
  EXPECT_EQ(take_all(limit, kOne, 1'000'000), 3) << "a long silence saves up no more than a burst";
}

TEST(RateLimit, IsEachWorkersOwn) {
  RateLimit limit({.burst = 2, .interval = 10});
  EXPECT_EQ(take_all(limit, kOne, 0), 2);
  EXPECT_EQ(take_all(limit, kTwo, 0), 2);
}

TEST(RateLimit, LookingTakesNothing) {
  RateLimit limit({.burst = 1, .interval = 10});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(limit.has(kOne, 0));
  EXPECT_TRUE(limit.take(kOne, 0));
  EXPECT_FALSE(limit.has(kOne, 9));
  EXPECT_TRUE(limit.has(kOne, 10));
}

}  // namespace
}  // namespace rubato
