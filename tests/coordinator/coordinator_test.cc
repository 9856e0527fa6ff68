// What a coordinator refuses to be made of, and what scenarios cannot show.
#include "rubato/coordinator/coordinator.h"

#include "tests/coordinator/rig.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

using ::testing::HasSubstr;

Rig small_rig() {
  Rig rig;
  rig.config.shard_sequences = {100};
  rig.config.local_steps = 5;
  rig.config.budget_steps = 1000;
  rig.config.schedule_steps = 1000;
  return rig;
}

TEST(Coordinator, RefusesWhatCannotWork) {
  const auto message = [](auto change) {
    Rig rig = small_rig();
    change(rig);
    const auto made = rig.make();
    EXPECT_TRUE(absl::IsInvalidArgument(made.status())) << made.status();
    return std::string(made.status().message());
  };
  EXPECT_TRUE(small_rig().make().ok());
  EXPECT_EQ(message([](Rig& rig) { rig.config.shard_sequences.clear(); }),
            "[coordinator] shards: got 0, want at least 1");
  EXPECT_THAT(message([](Rig& rig) {
                rig.config.shard_sequences = {4, 0};
              }),
              HasSubstr("sequences of a shard: got 0, want at least 1"));
  EXPECT_EQ(message([](Rig& rig) { rig.config.local_steps = 0; }),
            "[coordinator] local_steps: got 0, want at least 1");
  EXPECT_EQ(message([](Rig& rig) { rig.config.batch_sequences = 0; }),
            "[coordinator] batch_sequences: got 0, want at least 1");
  EXPECT_EQ(message([](Rig& rig) { rig.config.budget_steps = 0; }),
            "[coordinator] budget_steps: got 0, want at least 1");
  EXPECT_EQ(message([](Rig& rig) { rig.config.schedule_steps = 0; }),
            "[coordinator] schedule_steps: got 0, want at least 1");
  EXPECT_EQ(message([](Rig& rig) { rig.config.arrivals_per_step = 0; }),
            "[coordinator] arrivals_per_step: got 0, want at least 1");
}

// A round is a mean already: behind a barrier a buffer would count rounds, not arrivals.
TEST(Coordinator, RefusesABufferBehindABarrier) {
  for (const std::string_view gate : {"free", "grace", "barrier", "quorum"}) {
    const bool averages = gate == "barrier" || gate == "quorum";
    Rig rig = small_rig();
    rig.gate = {std::string(gate)};
    rig.config.arrivals_per_step = 4;
    const auto made = rig.make();
    EXPECT_EQ(made.ok(), !averages) << gate;
    if (!made.ok()) {
      EXPECT_THAT(std::string(made.status().message()),
                  HasSubstr("[coordinator] got a buffer of 4 deltas behind a gate that averages"));
    }
  }
}

// A round ends when everybody's delta is there: nobody can be ahead of it.
TEST(Coordinator, RefusesOverlapBehindABarrier) {
  for (const Overlap overlap : {Overlap::kNone, Overlap::kUpload, Overlap::kFull}) {
    for (const std::string_view gate : {"free", "grace", "barrier", "quorum"}) {
      const bool averages = gate == "barrier" || gate == "quorum";
      Rig rig = small_rig();
      rig.gate = {std::string(gate)};
      rig.config.overlap = overlap;
      const auto made = rig.make();
      const bool can_work = overlap == Overlap::kNone || !averages;
      EXPECT_EQ(made.ok(), can_work) << gate;
      if (!can_work) {
        EXPECT_THAT(std::string(made.status().message()),
                    HasSubstr("[coordinator] got overlapping communication behind a gate that "
                              "averages, want none there"));
      }
    }
  }
}

Task task_of(const Effects& effects) {
  for (const Effect& effect : effects) {
    if (const auto* dispatch = std::get_if<Dispatch>(&effect)) return dispatch->task;
  }
  ADD_FAILURE() << "nothing was dispatched";
  return {};
}

// Somebody who comes late ramps its rate; a cut in the middle of the ramp does not end it for a
// worker that kept its inner state, and begins it anew for one that lost it.
TEST(Coordinator, ARampGoesOnBehindACut) {
  for (const bool has_state : {true, false}) {
    Rig rig = small_rig();
    rig.gate = {"free"};
    rig.config.inner_rewarm_steps = 12;
    auto coordinator = rig.make();
    ASSERT_TRUE(coordinator.ok()) << coordinator.status();
    Effects effects;
    const auto step = [&](Nanos now, const Event& event) {
      effects.clear();
      coordinator->step(now, event, effects);
    };
    step(0, WorkerJoined{WorkerId(0), kNanosPerSecond, false});
    step(0, Start{});
    EXPECT_EQ(task_of(effects).rewarm_first, -1) << "there from the start";
    step(1, WorkerJoined{WorkerId(1), kNanosPerSecond, false});
    const Task first = task_of(effects);
    EXPECT_EQ(first.rewarm_first, 0);
    step(2, UpdateArrived{.worker = WorkerId(1),
                          .task = first.id,
                          .steps_done = first.steps,
                          .tokens = first.steps,
                          .train_ns = first.steps * kNanosPerSecond,
                          .norm = 1,
                          .finite = true});
    EXPECT_EQ(task_of(effects).rewarm_first, first.steps);
    step(3, WorkerLost{WorkerId(1)});
    step(4, WorkerJoined{WorkerId(1), kNanosPerSecond, has_state});
    EXPECT_EQ(task_of(effects).rewarm_first, has_state ? 2 * first.steps : 0);
  }
}

// Where nothing overlaps a wish is none, whoever says it.
TEST(Coordinator, WithoutOverlapNobodyGetsASecondTask) {
  auto coordinator = small_rig().make();
  ASSERT_TRUE(coordinator.ok()) << coordinator.status();
  Effects effects;
  coordinator->step(0, WorkerJoined{WorkerId(0), kNanosPerSecond, false}, effects);
  coordinator->step(0, Start{}, effects);
  const Task task = task_of(effects);
  const StateImage before = image_of(*coordinator);
  effects.clear();
  coordinator->step(0, TaskWanted{WorkerId(0), task.id}, effects);
  EXPECT_TRUE(effects.empty());
  EXPECT_EQ(image_of(*coordinator), before);
}

}  // namespace
}  // namespace rubato
