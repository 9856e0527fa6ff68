// Hours of a cluster's workers, by hand.
#include "rubato/rpc/timesheet.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr WorkerId kWorker(3);

class TimesheetTest : public testing::Test {
 protected:
  Task dispatched(int64_t id, Nanos now) {
    Task task;
    task.id = TaskId(id);
    task.worker = kWorker;
    task.dispatched = now;
    sheet_.dispatch(task, sink_);
    return task;
  }
  // What has been recorded, as `what task begin end`.
  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    for (const TaskSpan& span : sink_.log().spans) {
      const char* what = span.kind == SpanKind::kTrain  ? "train"
                         : span.kind == SpanKind::kWait ? "wait"
                                                        : "lost";
      out.push_back(cat(what, " ", span.task, " ", span.begin_ns, " ", span.end_ns));
    }
    return out;
  }
  using Lines = std::vector<std::string>;
  MemorySink sink_;
  Timesheet sheet_;
};

TEST_F(TimesheetTest, WhatIsNotTrainedIsWaited) {
  sheet_.join(kWorker, 10);
  const Task first = dispatched(1, 20);
  sheet_.arrive(first, 100, 50, sink_);
  const Task second = dispatched(2, 110);
  EXPECT_EQ(lines(), (Lines{cat("wait ", TaskId(), " 10 20"), "train 1 20 70", "wait 1 70 110"}))
      << "a wait is over when its worker has something to do, whatever becomes of that";
  sheet_.arrive(second, 200, 90, sink_);
  EXPECT_EQ(lines().back(), "train 2 110 200");
}

// The second task is dispatched, and perhaps trained, while the first one's delta travels.
TEST_F(TimesheetTest, OverlappingTasksAreNotCountedTwice) {
  sheet_.join(kWorker, 0);
  const Task first = dispatched(1, 0), second = dispatched(2, 50);
  sheet_.arrive(first, 100, 60, sink_);
  const Task third = dispatched(3, 130);
  sheet_.arrive(second, 160, 60, sink_);
  sheet_.arrive(third, 230, 60, sink_);
  EXPECT_EQ(lines(),
            (Lines{"train 1 0 60", "train 2 60 120", "wait 2 120 130", "train 3 130 190"}));
}

TEST_F(TimesheetTest, AClaimIsCutAtTheArrival) {
  sheet_.join(kWorker, 0);
  sheet_.arrive(dispatched(1, 0), 100, 1000, sink_);
  sheet_.arrive(dispatched(2, 100), 110, -5, sink_);
  EXPECT_EQ(lines(), (Lines{"train 1 0 100"}));
}

TEST_F(TimesheetTest, ALostWorkerBeginsAnew) {
  sheet_.join(kWorker, 0);
  sheet_.arrive(dispatched(1, 0), 100, 60, sink_);
  const std::vector<Task> tasks = {dispatched(2, 110)};
  sheet_.lose(kWorker, 150, tasks, sink_);
  sheet_.join(kWorker, 200);
  sheet_.join(kWorker, 210);  // said twice
  sheet_.lose(kWorker, 220, {}, sink_);
  EXPECT_EQ(lines(), (Lines{"train 1 0 60", "wait 1 60 110", "lost 2 110 150",
                            cat("wait ", TaskId(), " 200 220")}));
}

// A coordinator that begins again knows the tasks in flight and no more.
TEST_F(TimesheetTest, AnUnknownPastIsNotMadeUp) {
  const Task task = dispatched(1, 50);
  sheet_.join(kWorker, 90);
  sheet_.arrive(task, 100, 20, sink_);
  EXPECT_EQ(lines(), (Lines{"train 1 50 70"}));
}

}  // namespace
}  // namespace rubato
