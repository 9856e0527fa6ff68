// The door: finiteness, the norm's limit and what it remembers.
#include "rubato/coordinator/door.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "rubato/base/archive.h"

namespace rubato {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A door that has accepted `count` deltas of norm / sqrt(steps) = 1.
Door used_door(const DoorConfig& config, int count, int64_t steps = 4) {
  Door door(config);
  for (int i = 0; i < count; ++i)
    EXPECT_TRUE(door.judge(std::sqrt(static_cast<double>(steps)), true, steps).pass);
  return door;
}

TEST(Door, RefusesWhatIsNotFinite) {
  Door door(DoorConfig{});
  for (const Door::Verdict& verdict : {door.judge(1, false, 1), door.judge(kNan, true, 1),
                                       door.judge(kInfinity, true, 1), door.judge(-1, true, 1)}) {
    EXPECT_FALSE(verdict.pass);
    EXPECT_EQ(verdict.reason, RejectReason::kNotFinite);
  }
}

TEST(Door, TheDefaultClipsAtTenTimesTheMedianAfterSixteen) {
  Door early = used_door({}, 15);
  EXPECT_EQ(early.judge(1e6, true, 1).scale, 1) << "fifteen arrivals are too few to judge by";
  Door door = used_door({}, 16);
  EXPECT_EQ(door.judge(10, true, 1).scale, 1) << "the limit itself passes";
  const Door::Verdict verdict = door.judge(40, true, 1);
  EXPECT_TRUE(verdict.pass);
  EXPECT_DOUBLE_EQ(verdict.scale, 0.25);
}

TEST(Door, TheNormIsPerSquareRootOfSteps) {
  Door door = used_door({}, 16);
  EXPECT_EQ(door.judge(70, true, 49).scale, 1);
  EXPECT_DOUBLE_EQ(door.judge(140, true, 49).scale, 0.5);
}

TEST(Door, MayRejectInstead) {
  Door door = used_door({.norm_action = NormAction::kReject, .norm_multiple = 3}, 16);
  EXPECT_TRUE(door.judge(3, true, 1).pass);
  const Door::Verdict verdict = door.judge(3.01, true, 1);
  EXPECT_FALSE(verdict.pass);
  EXPECT_EQ(verdict.reason, RejectReason::kNormTooLarge);
}

TEST(Door, MayBeOff) {
  Door door = used_door({.norm_action = NormAction::kOff}, 100);
  EXPECT_EQ(door.judge(1e30, true, 1).scale, 1);
  EXPECT_FALSE(door.judge(1, false, 1).pass) << "finiteness is not an option";
}

TEST(Door, TheMedianIsThatOfTheLast64Accepted) {
  const DoorConfig config{.norm_action = NormAction::kReject};
  Door door = used_door(config, 64);
  // Norms grow: after 33 of nine, more than half of the last 64 are nine.
  for (int i = 0; i < 33; ++i) EXPECT_TRUE(door.judge(9, true, 1).pass);
  EXPECT_TRUE(door.judge(90, true, 1).pass);
  EXPECT_FALSE(door.judge(90.1, true, 1).pass);
}

TEST(Door, WhatIsRefusedIsNotRemembered) {
  const DoorConfig config{.norm_action = NormAction::kReject};
  Door door = used_door(config, 16);
  for (int i = 0; i < 200; ++i) EXPECT_FALSE(door.judge(1000, true, 1).pass);
  EXPECT_TRUE(door.judge(1, true, 1).pass);
}

TEST(Door, AClippedDeltaIsRememberedAsApplied) {
  // Clipped to 10, remembered as 10: a jump of the norms passes step by step, not at once.
  Door door = used_door({}, 64);
  for (int i = 0; i < 32; ++i) EXPECT_DOUBLE_EQ(door.judge(1000, true, 1).scale, 0.01);
  EXPECT_DOUBLE_EQ(door.judge(1000, true, 1).scale, 0.1);
}

TEST(Door, ZeroNormsMakeNoLimit) {
  Door door(DoorConfig{});
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(door.judge(0, true, 1).pass);
  EXPECT_EQ(door.judge(5, true, 1).scale, 1);
}

TEST(Door, JudgesFromTheFirstArrivalWhenToldTo) {
  Door door(DoorConfig{.norm_after = 0});
  EXPECT_EQ(door.judge(3, true, 1).scale, 1) << "nothing to compare with yet";
  EXPECT_DOUBLE_EQ(door.judge(60, true, 1).scale, 0.5);
}

TEST(Door, ComesBackFromItsArchive) {
  Door door = used_door({}, 16);
  const std::string bytes = to_archive(door);
  Door other{DoorConfig{}};
  ASSERT_TRUE(from_archive(bytes, other).ok());
  EXPECT_DOUBLE_EQ(other.judge(20, true, 1).scale, 0.5);
}

TEST(Door, EveryReasonHasWords) {
  for (RejectReason reason :
       {RejectReason::kUnknownTask, RejectReason::kWrongWorker, RejectReason::kBadClaim,
        RejectReason::kNotFinite, RejectReason::kNormTooLarge, RejectReason::kSuperseded,
        RejectReason::kFinished}) {
    EXPECT_NE(to_string(reason), "unknown");
  }
}

}  // namespace
}  // namespace rubato
