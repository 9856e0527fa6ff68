// Leases, and sessions that replace each other.
#include "rubato/rpc/roster.h"

#include <limits>

#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr Nanos kLease = 100;
constexpr WorkerId kOne(1), kTwo(2);

v1::ToWorker dispatch(int64_t task) {
  v1::ToWorker message;
  message.mutable_dispatch()->mutable_task()->set_id(task);
  return message;
}

class RosterTest : public testing::Test {
 protected:
  Roster roster_{kLease};
};

TEST_F(RosterTest, ALeaseRunsOutOnceUnlessSomethingIsHeard) {
  roster_.attach(kOne, 0);
  roster_.attach(kTwo, 10);
  EXPECT_EQ(roster_.next_expiry(), kLease);
  EXPECT_TRUE(roster_.take_expired(kLease - 1).empty());
  roster_.heard_from(kOne, 50);
  EXPECT_EQ(roster_.take_expired(kLease + 10), std::vector{kTwo});
  EXPECT_TRUE(roster_.take_expired(kLease + 20).empty()) << "each is told once";
  EXPECT_EQ(roster_.take_expired(10 * kLease), std::vector{kOne});
  EXPECT_EQ(roster_.next_expiry(), std::numeric_limits<Nanos>::max());
  EXPECT_EQ(roster_.attending(), 0);
}

TEST_F(RosterTest, ALateWordDoesNotShortenALease) {
  roster_.attach(kOne, 50);
  roster_.heard_from(kOne, 20);
  EXPECT_EQ(roster_.last_heard(kOne), 50);
  EXPECT_EQ(roster_.next_expiry(), 50 + kLease);
}

TEST_F(RosterTest, AnExpiredSessionEnds) {
  const auto box = roster_.attach(kOne, 0);
  roster_.take_expired(kLease);
  EXPECT_TRUE(box->closed());
  EXPECT_FALSE(roster_.attends(kOne));
  EXPECT_EQ(roster_.last_heard(kOne), std::nullopt);
  roster_.send(kOne, dispatch(1));  // to nobody
  EXPECT_FALSE(box->take().has_value());
}

TEST_F(RosterTest, AWorkerBetweenTwoSessionsKeepsItsLease) {
  const auto box = roster_.attach(kOne, 0);
  roster_.detach(kOne, box.get());
  EXPECT_TRUE(box->closed());
  EXPECT_FALSE(roster_.attends(kOne));
  EXPECT_EQ(roster_.last_heard(kOne), 0);
  EXPECT_EQ(roster_.take_expired(kLease), std::vector{kOne});
}

TEST_F(RosterTest, ANewSessionReplacesTheOldOne) {
  const auto older = roster_.attach(kOne, 0);
  const auto newer = roster_.attach(kOne, 1);
  EXPECT_EQ(older->take()->release().why(), v1::Release::WHY_REPLACED);
  EXPECT_FALSE(older->take().has_value());
  // The old one's end is not the new one's.
  roster_.detach(kOne, older.get());
  EXPECT_TRUE(roster_.attends(kOne));
  EXPECT_EQ(roster_.attending(), 1);
  roster_.send(kOne, dispatch(7));
  EXPECT_EQ(newer->take()->dispatch().task().id(), 7);
}

TEST_F(RosterTest, AReleasedWorkerIsToldAndForgotten) {
  const auto box = roster_.attach(kOne, 0);
  roster_.send(kOne, dispatch(1));
  roster_.release(kOne, v1::Release::WHY_EVICTED, "no more");
  roster_.release(kTwo, v1::Release::WHY_EVICTED, "never was");
  EXPECT_TRUE(box->take()->has_dispatch());
  const auto last = box->take();
  EXPECT_EQ(last->release().why(), v1::Release::WHY_EVICTED);
  EXPECT_EQ(last->release().text(), "no more");
  EXPECT_FALSE(box->take().has_value());
  EXPECT_TRUE(roster_.take_expired(10 * kLease).empty());
}

TEST_F(RosterTest, AllAreReleasedAtTheEnd) {
  const auto one = roster_.attach(kOne, 0), two = roster_.attach(kTwo, 0);
  roster_.release_all(v1::Release::WHY_FINISHED, "over");
  for (const auto& box : {one, two}) {
    EXPECT_EQ(box->take()->release().why(), v1::Release::WHY_FINISHED);
    EXPECT_FALSE(box->take().has_value());
  }
}

TEST_F(RosterTest, AWorkerOfBeforeTheRestartHasALeaseToComeBack) {
  roster_.heard_from(kOne, 500);
  EXPECT_FALSE(roster_.attends(kOne));
  EXPECT_TRUE(roster_.take_expired(500 + kLease - 1).empty());
  EXPECT_EQ(roster_.take_expired(500 + kLease), std::vector{kOne});
}

}  // namespace
}  // namespace rubato
