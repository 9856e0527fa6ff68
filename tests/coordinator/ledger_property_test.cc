// A million steps of the coordinator under random events, each watched by a referee that keeps a
// book of every sequence; and the same runs saved, restored and repeated.
#include <optional>

#include "tests/coordinator/random_fleet.h"
#include "tests/coordinator/referee.h"
#include <gtest/gtest.h>

#include "rubato/base/digest.h"
#include "rubato/coordinator/event_text.h"

namespace rubato {
namespace {

constexpr int64_t kStepsInAll = 1'000'000;  // over the four tests of a quarter each
constexpr int64_t kStepsPerRun = 2500;
constexpr int64_t kTwinSteps = 25;

struct Seen {
  RandomFleet::Tally tally;
  FateCounts fates;
  int64_t steps = 0, finished = 0, discarded = 0, rejected = 0, max_rejects = 0, second_tasks = 0;

  void add(const RandomFleet::Tally& other) {
    tally.joins += other.joins;
    tally.losses += other.losses;
    tally.late += other.late;
    tally.duplicates += other.duplicates;
    tally.partial += other.partial;
    tally.corrupt += other.corrupt;
    tally.strays += other.strays;
    tally.wants += other.wants;
    tally.pauses += other.pauses;
  }
};

// A coordinator like `original`, made from its saved state.
Coordinator restored(const Rig& rig, Coordinator& original) {
  Coordinator twin = rig.make().value();
  const StateImage image = image_of(original);
  StateRestorer restorer(image);
  twin.walk_state(restorer);
  EXPECT_TRUE(restorer.status().ok()) << restorer.status();
  return twin;
}

// One run; the first contradiction in words. Now and then the coordinator is saved and restored:
// for a while both go on side by side, then the restored one carries on alone.
std::string run(uint64_t seed, Seen& seen) {
  const Rig rig = random_rig(seed);
  Coordinator coordinator = rig.make().value();
  std::optional<Coordinator> twin;
  RandomFleet fleet(seed, rig.config);
  Referee referee(rig);
  Rng rng(seed, RngStream::kTest, 3);
  std::string wrong;
  Effects effects, twin_effects;
  int64_t after_end = 0, twin_steps = 0;
  for (int64_t i = 0; i < kStepsPerRun && after_end < 60 && wrong.empty(); ++i, ++seen.steps) {
    const RandomFleet::Timed timed = fleet.next();
    effects.clear();
    coordinator.step(timed.now, timed.event, effects);
    wrong = referee.watch(timed.now, timed.event, effects, coordinator, i % 64 == 0);
    if (twin) {
      twin_effects.clear();
      twin->step(timed.now, timed.event, twin_effects);
      if (effects_text(effects) != effects_text(twin_effects)) wrong = "the restored one differs";
      if (++twin_steps == kTwinSteps) {
        if (image_of(coordinator) != image_of(*twin)) wrong = "the restored one's state differs";
        coordinator = std::move(*twin);
        twin.reset();
      }
    } else if (rng.below(300) == 0) {
      twin = restored(rig, coordinator);
      twin_steps = 0;
    }
    fleet.take(effects);
    after_end += coordinator.finished() ? 1 : 0;
    if (!wrong.empty()) wrong = cat("seed ", seed, " event ", i, ": ", wrong);
  }
  seen.add(fleet.tally());
  seen.fates += coordinator.ledger().total_counts();
  seen.finished += coordinator.finished() ? 1 : 0;
  seen.discarded += coordinator.counts().discarded;
  seen.rejected += coordinator.counts().rejected;
  seen.second_tasks += referee.second_tasks();
  seen.max_rejects = std::max(seen.max_rejects, referee.max_rejects());
  return wrong;
}

void run_quarter(uint64_t quarter) {
  Seen seen;
  uint64_t runs = 0;
  while (seen.steps < kStepsInAll / 4) {
    const std::string wrong = run(quarter * 1'000'000 + runs++, seen);
    ASSERT_EQ(wrong, "");
  }
  // Nothing above means anything unless these happened, and often.
  EXPECT_GT(seen.finished, static_cast<int64_t>(runs) / 4);
  for (int64_t often :
       {seen.tally.joins, seen.tally.losses, seen.tally.late, seen.tally.duplicates,
        seen.tally.partial, seen.tally.corrupt, seen.tally.wants, seen.rejected, seen.discarded,
        seen.tally.pauses, seen.second_tasks, seen.fates.applied, seen.fates.discarded}) {
    EXPECT_GT(often, 1000);
  }
  EXPECT_GT(seen.tally.strays, 300);
  EXPECT_GT(seen.fates.quarantined, 10);
  EXPECT_GE(seen.max_rejects, kRejectsUntilQuarantine);
}

TEST(LedgerProperty, RandomEventsFirstQuarter) { run_quarter(0); }
TEST(LedgerProperty, RandomEventsSecondQuarter) { run_quarter(1); }
TEST(LedgerProperty, RandomEventsThirdQuarter) { run_quarter(2); }
TEST(LedgerProperty, RandomEventsLastQuarter) { run_quarter(3); }

// All effects of a run in words.
std::string effects_of_run(uint64_t seed) {
  const Rig rig = random_rig(seed);
  Coordinator coordinator = rig.make().value();
  RandomFleet fleet(seed, rig.config);
  std::string out;
  for (int i = 0; i < 600; ++i) {
    const RandomFleet::Timed timed = fleet.next();
    Effects effects;
    coordinator.step(timed.now, timed.event, effects);
    fleet.take(effects);
    out += effects_text(effects);
  }
  return out;
}

TEST(LedgerProperty, SameEventsSameEffects) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::string once = effects_of_run(seed);
    EXPECT_FALSE(once.empty());
    EXPECT_EQ(digest_of(once), digest_of(effects_of_run(seed))) << "seed " << seed;
  }
}

// Numbers that no driver would send; step() is total, and the ledger's sums hold whatever comes.
int64_t absurd(Rng& rng) {
  constexpr int64_t kValues[] = {0,
                                 1,
                                 2,
                                 3,
                                 7,
                                 -1,
                                 -2,
                                 1 << 20,
                                 1L << 40,
                                 std::numeric_limits<int64_t>::max(),
                                 std::numeric_limits<int64_t>::min()};
  return kValues[rng.below(std::size(kValues))];
}

double absurd_norm(Rng& rng) {
  const double values[] = {0,
                           1,
                           -1,
                           1e300,
                           1e-300,
                           std::numeric_limits<double>::quiet_NaN(),
                           std::numeric_limits<double>::infinity()};
  return values[rng.below(std::size(values))];
}

Event garbage(Rng& rng, int64_t tasks, const Coordinator& coordinator) {
  const WorkerId worker(rng.below(3) > 0 ? static_cast<int64_t>(rng.below(4)) : absurd(rng));
  const TaskId task(rng.below(3) > 0
                        ? static_cast<int64_t>(rng.below(static_cast<uint64_t>(tasks) + 1))
                        : absurd(rng));
  switch (rng.below(9)) {
    case 0:
      return WorkerJoined{worker, absurd(rng), rng.below(2) == 0};
    case 4:
      return TaskWanted{worker, task};
    case 1:
      return WorkerLost{worker};
    case 2:
      return Start{};
    case 3:
      return TimerFired{absurd(rng)};
    default:
      break;
  }
  UpdateArrived update{
      worker, task, absurd(rng), absurd(rng), absurd(rng), absurd_norm(rng), rng.below(4) > 0};
  const Task* known = coordinator.find_task(task);
  if (known != nullptr && rng.below(2) == 0) {
    // Right enough to come in; time and norm stay as absurd as they are.
    const CoordinatorConfig& config = coordinator.config();
    update.worker = known->worker;
    update.steps_done = known->steps;
    update.tokens = known->steps * config.batch_sequences * config.tokens_per_sequence;
  }
  return update;
}

TEST(LedgerProperty, GarbageIsAnswered) {
  int64_t tasks_in_all = 0, arrivals_in_all = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Rig rig = random_rig(seed);
    Coordinator coordinator = rig.make().value();
    Rng rng(seed, RngStream::kTest, 4);
    int64_t tasks = 0;
    Nanos now = 0;
    for (int i = 0; i < 500; ++i) {
      const Event event = garbage(rng, tasks, coordinator);
      now += static_cast<Nanos>(rng.below(1'000'000'000));
      Effects effects;
      coordinator.step(rng.below(10) == 0 ? -now : now, event, effects);
      for (const Effect& effect : effects) {
        const auto* dispatch = std::get_if<Dispatch>(&effect);
        if (dispatch == nullptr) continue;
        ++tasks;
        ASSERT_GE(dispatch->task.expected_arrival, dispatch->task.dispatched);
      }
      const FateCounts counts = coordinator.ledger().total_counts();
      ASSERT_TRUE(counts.balanced());
      ASSERT_GE(std::min({counts.assigned, counts.applied, counts.returned, counts.discarded,
                          counts.quarantined}),
                0);
      ASSERT_GE(coordinator.counts().version, 0);
    }
    tasks_in_all += tasks;
    arrivals_in_all += coordinator.counts().arrivals;
  }
  EXPECT_GT(tasks_in_all, 2000);
  EXPECT_GT(arrivals_in_all, 100);
}

}  // namespace
}  // namespace rubato
