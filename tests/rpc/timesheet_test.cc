// Hours of a cluster's workers, by hand.
#include "rubato/rpc/timesheet.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr WorkerId kWorker(3);

Task task_of(int64_t id, Nanos dispatched) {
  Task task;
  task.id = TaskId(id);
  task.worker = kWorker;
  task.dispatched = dispatched;
  return task;
}

class TimesheetTest : public testing::Test {
 protected:
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
  sheet_.arrive(task_of(1, 20), 100, 50, sink_);
  sheet_.arrive(task_of(2, 110), 200, 90, sink_);
  EXPECT_EQ(lines(), (Lines{cat("wait ", TaskId(), " 10 20"), "train 1 20 70", "wait 1 70 110",
                            "train 2 110 200"}));
}

// The second task is dispatched, and perhaps trained, while the first one's delta travels.
TEST_F(TimesheetTest, OverlappingTasksAreNotCountedTwice) {
  sheet_.join(kWorker, 0);
  sheet_.arrive(task_of(1, 0), 100, 60, sink_);
  sheet_.arrive(task_of(2, 50), 160, 60, sink_);
  sheet_.arrive(task_of(3, 130), 230, 60, sink_);
  EXPECT_EQ(lines(),
            (Lines{"train 1 0 60", "train 2 60 120", "wait 2 120 130", "train 3 130 190"}));
}

TEST_F(TimesheetTest, AClaimIsCutAtTheArrival) {
  sheet_.join(kWorker, 0);
  sheet_.arrive(task_of(1, 0), 100, 1000, sink_);
  sheet_.arrive(task_of(2, 90), 100, 1000, sink_);
  sheet_.arrive(task_of(3, 100), 110, -5, sink_);
  EXPECT_EQ(lines(), (Lines{"train 1 0 100"}));
}

TEST_F(TimesheetTest, ALostWorkerBeginsAnew) {
  sheet_.join(kWorker, 0);
  sheet_.arrive(task_of(1, 0), 100, 60, sink_);
  const std::vector<Task> tasks = {task_of(2, 110)};
  sheet_.lose(kWorker, 150, tasks, sink_);
  sheet_.join(kWorker, 200);
  sheet_.join(kWorker, 210);  // said twice
  sheet_.lose(kWorker, 220, {}, sink_);
  EXPECT_EQ(lines(), (Lines{"train 1 0 60", "wait 1 60 110", "lost 2 110 150",
                            cat("wait ", TaskId(), " 200 220")}));
}

// After a restart: nobody knows since when.
TEST_F(TimesheetTest, AnUnknownPastIsNotMadeUp) {
  sheet_.arrive(task_of(1, 50), 100, 20, sink_);
  EXPECT_EQ(lines(), (Lines{"train 1 50 70"}));
}

}  // namespace
}  // namespace rubato
