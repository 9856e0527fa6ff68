#include "rubato/rpc/logged_event.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(LoggedEvent, EveryKindComesBackAsItWasWritten) {
  const std::vector<Event> events = {
      WorkerJoined{WorkerId(3), 58'000'000, true},
      WorkerLost{WorkerId(2)},
      Start{},
      UpdateArrived{WorkerId(1), TaskId(7), 50, 51'200, 29 * kNanosPerSecond, 0.25, false},
      TimerFired{9},
      TaskWanted{WorkerId(4), TaskId(12)},
      Pause{true},
      Pause{false},
      RolledBack{}};
  for (const Event& event : events) {
    const LoggedEvent record{123, event, {2.5, 1e-3, 4096}};
    const StatusOr<LoggedEvent> back = logged_event_from(to_bytes(record));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(to_bytes(*back), to_bytes(record));
    EXPECT_EQ(back->now, 123);
    EXPECT_EQ(back->event.index(), event.index());
  }
}

TEST(LoggedEvent, NotesTravelWithArrivalsOnly) {
  const LoggedEvent arrival{1, UpdateArrived{}, {2.5, 1e-3, 4096, 8192, "int8", "block = 64.0\n"}};
  const StatusOr<LoggedEvent> back = logged_event_from(to_bytes(arrival));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->notes.mean_loss, 2.5);
  EXPECT_EQ(back->notes.last_lr, 1e-3);
  EXPECT_EQ(back->notes.bytes_up, 4096);
  EXPECT_EQ(back->notes.bytes_down, 8192);
  EXPECT_EQ(back->notes.codec, "int8");
  EXPECT_EQ(back->notes.codec_options, "block = 64.0\n");
}

// A journal of before codecs were agreed with each worker goes on.
TEST(LoggedEvent, OlderArrivalsHaveNoCodec) {
  const std::string bytes = to_bytes({1, UpdateArrived{}, {2.5, 1e-3, 4096}});
  constexpr size_t kAgreed = 3 * sizeof(int64_t);  // bytes_down and the lengths of two empty texts
  const auto back = logged_event_from(bytes.substr(0, bytes.size() - kAgreed));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->notes.bytes_up, 4096);
  EXPECT_EQ(back->notes.codec, "");
}

TEST(LoggedEvent, RefusesWhatNobodyWrote) {
  EXPECT_TRUE(absl::IsDataLoss(logged_event_from("").status()));
  std::string bytes = to_bytes({1, Start{}, {}});
  bytes[sizeof(Nanos)] = 17;
  EXPECT_TRUE(absl::IsDataLoss(logged_event_from(bytes).status()));
  EXPECT_TRUE(absl::IsDataLoss(logged_event_from(to_bytes({1, Start{}, {}}) + "x").status()));
}

}  // namespace
}  // namespace rubato
