// The order of what happens on a virtual clock.
#include "rubato/worker/clockwork.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/archive.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;
using Kind = Clockwork::Kind;

constexpr Nanos s(double seconds) { return from_seconds(seconds); }

Task task_of(int64_t id, int64_t worker, int64_t steps) {
  Task task;
  task.id = TaskId(id);
  task.worker = WorkerId(worker);
  task.steps = steps;
  return task;
}

std::vector<Kind> kinds(Clockwork& clockwork) {
  std::vector<Kind> all;
  while (!clockwork.empty()) all.push_back(clockwork.take().kind);
  return all;
}

TEST(Clockwork, EventsOfOneInstantHaveAnOrder) {
  const std::vector<SimWorker> fleet = {{.leave_at = s(10), .return_at = s(10)}, {}};
  Clockwork clockwork(fleet, Overlap::kNone, {});
  EXPECT_EQ(clockwork.take().who, 0);
  EXPECT_EQ(clockwork.take().who, 1);
  clockwork.set_timer({.at = s(10), .timer = 1});
  clockwork.dispatch(task_of(4, 1, 10), 0);
  clockwork.dispatch(task_of(5, 0, 10), 0);
  EXPECT_EQ(clockwork.next().task, TaskId(5));  // of the smaller worker id
  EXPECT_THAT(kinds(clockwork),
              ElementsAre(Kind::kArrival, Kind::kArrival, Kind::kLeave, Kind::kJoin, Kind::kTimer));
}

TEST(Clockwork, EveryEntryButAnArrivalIsAnEvent) {
  const std::vector<SimWorker> fleet = {{.ns_per_step = 7}};
  const Clockwork clockwork(fleet, Overlap::kNone, {});
  const auto event = clockwork.event_of({.kind = Kind::kJoin, .who = 0, .task = {}});
  EXPECT_EQ(std::get<WorkerJoined>(event).ns_per_step, 7);
  EXPECT_EQ(
      std::get<TimerFired>(clockwork.event_of({.kind = Kind::kTimer, .who = 3, .task = {}})).timer,
      3);
  const auto wish = clockwork.event_of({.kind = Kind::kWish, .who = 0, .task = TaskId(2)});
  EXPECT_EQ(std::get<TaskWanted>(wish).behind, TaskId(2));
}

TEST(Clockwork, AWishComesWhereCommunicationOverlaps) {
  const std::vector<SimWorker> fleet = {{.link = {.up_bytes_per_s = 10}}};
  for (const Overlap overlap : {Overlap::kNone, Overlap::kUpload}) {
    Clockwork clockwork(fleet, overlap, {.down_bytes = 0, .up_bytes = 100});
    clockwork.take();
    clockwork.dispatch(task_of(0, 0, 1), 0);
    EXPECT_EQ(clockwork.next().kind, overlap == Overlap::kNone ? Kind::kArrival : Kind::kWish);
  }
}

TEST(Clockwork, ALostWorkersTasksNeverArrive) {
  const std::vector<SimWorker> fleet(2);
  Clockwork clockwork(fleet, Overlap::kUpload, {});
  clockwork.take();
  clockwork.take();
  for (const int64_t id : {3, 1, 2}) clockwork.dispatch(task_of(id, id % 2, 1), 0);
  EXPECT_THAT(clockwork.lose(WorkerId(1)), ElementsAre(TaskId(1), TaskId(3)));
  EXPECT_THAT(clockwork.tasks_to_arrive(), ElementsAre(TaskId(2)));
  // Nothing that it had is in its way when it is back.
  EXPECT_EQ(clockwork.dispatch(task_of(4, 1, 1), s(1)).begins, s(1));
}

TEST(Clockwork, GoesOnWhereItWasSaved) {
  const std::vector<SimWorker> fleet(3);
  Clockwork clockwork(fleet, Overlap::kNone, {});
  for (int64_t i = 0; i < 3; ++i) {
    clockwork.take();
    clockwork.dispatch(task_of(i, i, 5 - i), 0);
  }
  ArchiveWriter writer;
  clockwork.archive_queue(writer);
  clockwork.archive_clocks(writer);
  Clockwork restored(fleet, Overlap::kNone, {});
  ArchiveReader reader(writer.bytes);
  restored.archive_queue(reader);
  restored.archive_clocks(reader);
  ASSERT_TRUE(reader.finish().ok());
  EXPECT_THAT(restored.tasks_to_arrive(), UnorderedElementsAre(TaskId(0), TaskId(1), TaskId(2)));
  while (!clockwork.empty()) EXPECT_EQ(clockwork.take(), restored.take());
  EXPECT_TRUE(restored.empty());
  EXPECT_EQ(clockwork.dispatch(task_of(7, 0, 1), 0), restored.dispatch(task_of(7, 0, 1), 0));
}

}  // namespace
}  // namespace rubato
