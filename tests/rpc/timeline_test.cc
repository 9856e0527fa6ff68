// When events happen: as they come on the real clock, in the script's order on the virtual one.
#include "rubato/rpc/timeline.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/coordinator/event_text.h"
#include "rubato/rpc/event_outcome.h"
#include "rubato/server/machine.h"

namespace rubato {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr int64_t kSteps = 4;  // H

MachineConfig machine_config(const Choice& gate, Overlap overlap) {
  MachineConfig config;
  config.coordinator.local_steps = kSteps;
  config.coordinator.budget_steps = config.coordinator.schedule_steps = 1000;
  config.coordinator.overlap = overlap;
  config.gate = gate;
  config.chain = {.links = {}, .rule = "sgd", .options = {}};
  return config;
}

// A state machine and the timeline that drives it.
class Driven {
 public:
  explicit Driven(const Choice& gate = {"free", {}}, Overlap overlap = Overlap::kNone) {
    Layout layout;
    layout.add("a", {4}, TensorRole::kMatrix);
    auto machine = make_machine(machine_config(gate, overlap), layout, {100, 100}, 1);
    RUBATO_CHECK(machine.ok(), machine.status().message());
    coordinator_ = std::move(machine->coordinator);
  }
  const Coordinator& coordinator() const { return *coordinator_; }
  void use(std::unique_ptr<Timeline> timeline) { timeline_ = std::move(timeline); }
  Timeline& timeline() { return *timeline_; }

  void add(Event event) { timeline_->add({.event = std::move(event), .notes = {}}); }
  void join(int64_t worker) { add(WorkerJoined{WorkerId(worker), 1, true}); }
  void arrive(int64_t worker, int64_t task, int64_t steps = kSteps) {
    add(UpdateArrived{.worker = WorkerId(worker),
                      .task = TaskId(task),
                      .steps_done = steps,
                      .tokens = steps,
                      .train_ns = 77,
                      .norm = 1});
  }
  // Everything that happens by `clock`, as lines `TIME EVENT`, stepped and followed.
  std::vector<std::string> run(Nanos clock = 0) {
    std::vector<std::string> lines;
    for (;;) {
      const std::vector<TimedEvent> events = timeline_->take(clock);
      if (events.empty()) return lines;
      for (const TimedEvent& event : events) {
        lines.push_back(cat(event.now, " ", event_text(event.incoming.event)));
        Effects effects;
        coordinator_->step(event.now, event.incoming.event, effects);
        timeline_->follow(event.now, effects);
      }
    }
  }

 private:
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<Timeline> timeline_;
};

std::string joined(int64_t worker, Nanos ns_per_step, bool has_state) {
  return event_text(WorkerJoined{WorkerId(worker), ns_per_step, has_state});
}
std::string lost(int64_t worker) { return event_text(WorkerLost{WorkerId(worker)}); }
std::string fired(int64_t timer) { return event_text(TimerFired{timer}); }
std::string started() { return event_text(Start{}); }
std::string arrived(int64_t worker, int64_t task, Nanos train_ns, int64_t steps = kSteps) {
  return event_text(UpdateArrived{.worker = WorkerId(worker),
                                  .task = TaskId(task),
                                  .steps_done = steps,
                                  .tokens = steps,
                                  .train_ns = train_ns,
                                  .norm = 1});
}

// ---- the real clock

class RealTimelineTest : public testing::Test {
 protected:
  void use(int64_t start_workers) {
    driven_.use(std::make_unique<RealTimeline>(driven_.coordinator(), start_workers));
  }
  Driven driven_;
};

TEST_F(RealTimelineTest, EventsHappenAsTheyComeAndTrainingStartsWithEnough) {
  use(2);
  EXPECT_EQ(driven_.timeline().next_look(), std::nullopt);
  driven_.join(5);
  driven_.join(5);  // the same one again
  driven_.add(WorkerLost{WorkerId(6)});
  EXPECT_EQ(driven_.timeline().next_look(), 0);
  EXPECT_THAT(driven_.run(10), ElementsAre(cat("10 ", joined(5, 1, true)),
                                           cat("10 ", joined(5, 1, true)), cat("10 ", lost(6))));
  driven_.join(7);
  EXPECT_THAT(driven_.run(20), ElementsAre(cat("20 ", joined(7, 1, true)), cat("20 ", started())));
  driven_.join(8);
  EXPECT_THAT(driven_.run(30), ElementsAre(cat("30 ", joined(8, 1, true))));
}

TEST_F(RealTimelineTest, WhoLeavesBeforeTheStartDoesNotCount) {
  use(2);
  driven_.join(1);
  driven_.add(WorkerLost{WorkerId(1)});
  driven_.join(2);
  EXPECT_EQ(driven_.run(10).size(), 3u);
  driven_.join(1);
  EXPECT_EQ(driven_.run(10).back(), cat("10 ", started()));
}

TEST_F(RealTimelineTest, ARunThatHasStartedStartsNoMore) {
  use(1);
  driven_.join(1);
  driven_.run(10);
  use(1);
  driven_.join(2);
  EXPECT_THAT(driven_.run(20), ElementsAre(cat("20 ", joined(2, 1, true))));
}

TEST_F(RealTimelineTest, OnlyTheLastTimerGoesOffAndNotBeforeItsTime) {
  use(1);
  driven_.timeline().follow(0, {SetTimer{.at = 50, .timer = 1}, SetTimer{.at = 70, .timer = 2}});
  EXPECT_EQ(driven_.timeline().next_look(), 70);
  EXPECT_THAT(driven_.run(69), IsEmpty());
  EXPECT_THAT(driven_.run(71), ElementsAre(cat("71 ", fired(2))));
  EXPECT_EQ(driven_.timeline().next_look(), std::nullopt);
}

TEST_F(RealTimelineTest, GivesUpWhatHasNotHappened) {
  use(1);
  driven_.arrive(1, 0);
  driven_.join(2);
  EXPECT_EQ(driven_.timeline().give_up().size(), 2u);
  EXPECT_THAT(driven_.run(10), IsEmpty());
}

// ---- the virtual clock

class VirtualTimelineTest : public testing::Test {
 protected:
  void use(std::vector<ScriptedWorker> script, Nanos now = 0) {
    driven_->use(std::make_unique<VirtualTimeline>(driven_->coordinator(), std::move(script),
                                                   Payload{16, 16}, now));
  }
  std::unique_ptr<Driven> driven_ = std::make_unique<Driven>();
};

TEST_F(VirtualTimelineTest, WaitsForWhoeverIsNextAndTellsTheScriptsDurations) {
  use({{.ns_per_step = 10}, {.ns_per_step = 30}});
  driven_->join(1);
  EXPECT_THAT(driven_->run(), IsEmpty()) << "worker 0 is first";
  driven_->join(0);
  EXPECT_THAT(driven_->run(), ElementsAre(cat("0 ", joined(0, 10, false)),
                                          cat("0 ", joined(1, 30, false)), cat("0 ", started())));
  driven_->arrive(1, 1);  // due at 120
  EXPECT_THAT(driven_->run(1'000'000), IsEmpty());
  driven_->arrive(0, 0);
  EXPECT_THAT(driven_->run(), ElementsAre(cat("40 ", arrived(0, 0, 40))));
  driven_->arrive(0, 2);
  EXPECT_THAT(driven_->run(), ElementsAre(cat("80 ", arrived(0, 2, 40))));
  driven_->arrive(0, 3);
  EXPECT_THAT(driven_->run(), ElementsAre(cat("120 ", arrived(0, 3, 40)),
                                          cat("120 ", arrived(1, 1, 120)), cat("120 ", fired(1))))
      << "arrivals of one instant by worker";
}

TEST_F(VirtualTimelineTest, OrdersOneInstantAsTheSimulatorDoes) {
  use({{.ns_per_step = 10},
       {.ns_per_step = 10},
       {.ns_per_step = 10, .leave_at = 40},
       {.ns_per_step = 10, .join_at = 40}});
  for (const int64_t worker : {3, 2, 1, 0}) driven_->join(worker);
  driven_->run();
  for (const int64_t worker : {2, 1, 0}) driven_->arrive(worker, worker);
  // Arrivals by worker, then the loss, then who joins, then the gate's timer.
  EXPECT_THAT(driven_->run(),
              ElementsAre(cat("40 ", arrived(0, 0, 40)), cat("40 ", arrived(1, 1, 40)),
                          cat("40 ", arrived(2, 2, 40)), cat("40 ", lost(2)),
                          cat("40 ", joined(3, 10, false)), cat("40 ", fired(1))));
}

TEST_F(VirtualTimelineTest, ADeltaOfATaskThatTheScriptTookAwayIsHopeless) {
  use({{.ns_per_step = 10}, {.ns_per_step = 30, .leave_at = 40, .return_at = 60}});
  driven_->join(0);
  driven_->join(1);
  driven_->run();
  driven_->arrive(1, 1);
  driven_->arrive(0, 0);
  driven_->run();
  ASSERT_EQ(driven_->timeline().take_hopeless().size(), 1u);
  EXPECT_TRUE(driven_->timeline().take_hopeless().empty());
  driven_->arrive(1, 1);   // again
  driven_->arrive(0, 99);  // nobody's
  EXPECT_EQ(driven_->timeline().take_hopeless().size(), 2u);
  driven_->join(1);
  EXPECT_THAT(driven_->run(), ElementsAre(cat("60 ", joined(1, 30, false))));
}

TEST_F(VirtualTimelineTest, ADeltaThatComesAgainReplacesTheFirst) {
  use({{.ns_per_step = 10}, {.ns_per_step = 30}});
  driven_->join(0);
  driven_->join(1);
  driven_->run();
  auto outcome = std::make_shared<EventOutcome>();
  auto verdict = outcome->verdict();
  driven_->timeline().add({.event = UpdateArrived{.worker = WorkerId(1), .task = TaskId(1)},
                           .notes = {},
                           .outcome = std::move(outcome)});
  driven_->arrive(1, 1);
  EXPECT_TRUE(absl::IsUnavailable(verdict.get().status())) << "nobody waits for ever";
}

TEST_F(VirtualTimelineTest, ClaimsThatOverflowStayClaims) {
  use({{.ns_per_step = kNanosPerSecond}});
  driven_->join(0);
  driven_->run();
  const int64_t most = std::numeric_limits<int64_t>::max();
  driven_->arrive(0, 0, most);
  EXPECT_THAT(driven_->run(),
              ElementsAre(cat(kSteps * kNanosPerSecond, " ", arrived(0, 0, most, most))));
}

TEST_F(VirtualTimelineTest, WhatTheScriptDoesNotKnowNeverHappens) {
  use({{.ns_per_step = 10}});
  driven_->join(9);
  driven_->add(WorkerLost{WorkerId(0)});
  driven_->add(TaskWanted{WorkerId(0), TaskId(0)});
  EXPECT_THAT(driven_->run(), IsEmpty());
  EXPECT_EQ(driven_->timeline().give_up().size(), 1u);
}

TEST_F(VirtualTimelineTest, WishesComeWhenTheStepsAreDone) {
  driven_ = std::make_unique<Driven>(Choice{"free", {}}, Overlap::kUpload);
  use({{.ns_per_step = 10, .link = {.up_bytes_per_s = kNanosPerSecond, .latency = 7}}});
  driven_->join(0);
  EXPECT_THAT(driven_->run(),
              ElementsAre(cat("0 ", joined(0, 10, false)), cat("0 ", started()),
                          cat("54 ", event_text(TaskWanted{WorkerId(0), TaskId(0)}))))
      << "a latency down, the steps, a latency up";
}

// What is behind the clock has happened, what is under way comes at its old hour.
TEST_F(VirtualTimelineTest, GoesOnAfterARestart) {
  driven_ = std::make_unique<Driven>(Choice{"grace", {{"seconds", 1e-8}}});
  const std::vector<ScriptedWorker> script = {{.ns_per_step = 10},
                                              {.ns_per_step = 10, .join_at = 20, .leave_at = 30},
                                              {.ns_per_step = 10, .join_at = 500}};
  use(script);
  for (const int64_t worker : {0, 1}) driven_->join(worker);
  const auto before = driven_->run();
  EXPECT_EQ(before.back(), cat("30 ", lost(1)));
  use(script, 30);
  EXPECT_THAT(driven_->run(), IsEmpty());
  driven_->arrive(0, 0);
  EXPECT_EQ(driven_->run().front(), cat("40 ", arrived(0, 0, 40)));
}

}  // namespace
}  // namespace rubato
