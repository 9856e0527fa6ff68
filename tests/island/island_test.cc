// An island against one process, its ranks being threads, on the quadratic workload; over MPI and
// with a language model: mpi_island_test.cc.
#include "rubato/island/island.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/island/thread_link.h"
#include "tests/trainer/inner_testing.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/digest.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/trainer/quadratic.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Workload> make_workload() {
  return QuadraticWorkload::make({.dim = 33, .noise = 0.2}, make_inner("adamw", {})).value();
}

struct Course {
  std::vector<float> params;
  std::vector<StepResult> results;
};

Course train(const Workload& workload, Trainer& trainer, int64_t batch_size, int steps) {
  Course course;
  course.params.resize(static_cast<size_t>(workload.layout().size()));
  workload.initialise(3, course.params);
  InnerState state = workload.optimizer().make_state(workload.layout().size());
  for (int64_t step = 0; step < steps; ++step) {
    std::vector<SequenceRef> batch;
    for (int64_t i = 0; i < batch_size; ++i) batch.push_back({ShardId(i % 4), step * 16 + i});
    course.results.push_back(trainer.step(course.params, state, batch, 0.01, 1));
  }
  EXPECT_EQ(state.steps, steps);
  return course;
}

void serve(IslandLink& link) {
  std::unique_ptr<Workload> own;
  MemoryFileSystem files;
  serve_island(
      link, files,
      [&](const std::string& text) -> StatusOr<const Workload*> {
        EXPECT_EQ(text, "the run");
        own = make_workload();
        return own.get();
      },
      1);
}

// Ranks, sequences a step.
class Island : public ::testing::TestWithParam<std::pair<int, int64_t>> {};

TEST_P(Island, TrainsAsOneProcessDoes) {
  const auto [ranks, batch_size] = GetParam();
  const auto alone = make_workload();
  const Course expected =
      train(*alone, *alone->make_trainer(batch_size, 1).value(), batch_size, 50);
  Course course;
  ThreadIsland::run(
      ranks,
      [&, batch = batch_size](IslandLink& link) {
        IslandLeader leader(link);
        ASSERT_TRUE(leader.introduce("the run").ok());
        const auto workload = leader.share(make_workload());
        // As a worker does: one to see how fast it is, one to work with.
        ASSERT_TRUE(workload->make_trainer(batch, 1).ok());
        course = train(*workload, *workload->make_trainer(batch, 1).value(), batch, 50);
      },
      serve);
  ASSERT_EQ(course.results.size(), 50u);
  for (size_t i = 0; i < course.params.size(); ++i)
    EXPECT_NEAR(course.params[i], expected.params[i], 1e-5 * std::abs(expected.params[i]) + 1e-7);
  for (size_t i = 0; i < 50; ++i) {
    EXPECT_EQ(course.results[i].tokens, expected.results[i].tokens);
    EXPECT_NEAR(course.results[i].loss, expected.results[i].loss, 1e-6);
    EXPECT_NEAR(course.results[i].grad_norm, expected.results[i].grad_norm, 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Island,
                         testing::Values(std::pair(2, 8), std::pair(2, 5), std::pair(3, 8),
                                         std::pair(4, 4), std::pair(5, 16)));

TEST(IslandLeader, TellsWhichRankCouldNotCome) {
  ThreadIsland::run(
      3,
      [](IslandLink& link) {
        IslandLeader leader(link);
        const Status status = leader.introduce("anything");
        EXPECT_TRUE(absl::IsFailedPrecondition(status));
        EXPECT_EQ(status.message(), "rank 2 of the island: [test] got no data, want some");
      },
      [](IslandLink& link) {
        const auto workload = make_workload();
        MemoryFileSystem files;
        serve_island(
            link, files,
            [&](const std::string&) -> StatusOr<const Workload*> {
              if (link.rank() == 2)
                return absl::FailedPreconditionError("[test] got no data, want some");
              return workload.get();
            },
            1);
      });
}

TEST(IslandLeader, WantsASequenceForEachRank) {
  ThreadIsland::run(
      3,
      [](IslandLink& link) {
        IslandLeader leader(link);
        ASSERT_TRUE(leader.introduce("the run").ok());
        const auto trainer = leader.share(make_workload())->make_trainer(2, 1);
        EXPECT_THAT(
            std::string(trainer.status().message()),
            HasSubstr("got 3 ranks for 2 sequences a local step, want a sequence for each"));
      },
      serve);
}

TEST(IslandLeader, SharesFiles) {
  const SharedFile file{"/run/data/tokens.bin", 5, digest_of(std::string_view("12345"))};
  ThreadIsland::run(
      3,
      [&](IslandLink& link) {
        MemoryFileSystem files;
        ASSERT_TRUE(files.make_directories("/run/data").ok());
        ASSERT_TRUE(files.replace_file(file.path, "12345").ok());
        IslandLeader leader(link);
        EXPECT_TRUE(leader.share_file(files, file).ok());
      },
      [&](IslandLink& link) {
        MemoryFileSystem files;
        serve_island(
            link, files, [](const std::string&) { return nullptr; }, 1);
        EXPECT_EQ(files.read_file(file.path).value(), "12345");
      });
}

TEST(IslandLeader, LetsTheOthersGoBeforeAnythingBegan) {
  int served = 0;
  ThreadIsland::run(
      2, [](IslandLink& link) { const IslandLeader leader(link); },
      [&](IslandLink& link) {
        serve(link);
        ++served;
      });
  EXPECT_EQ(served, 1);
}

// A loss that is not finite at any rank changes nothing, as Trainer::step promises.
TEST(IslandLeader, ALossThatIsNotFiniteChangesNothing) {
  ThreadIsland::run(
      2,
      [](IslandLink& link) {
        IslandLeader leader(link);
        ASSERT_TRUE(leader.introduce("the run").ok());
        const auto workload = leader.share(make_workload());
        const auto trainer = workload->make_trainer(2, 1).value();
        std::vector<float> params(33, std::numeric_limits<float>::infinity());
        InnerState state = workload->optimizer().make_state(33);
        const std::vector<SequenceRef> batch = {{ShardId(0), 1}, {ShardId(1), 2}};
        EXPECT_FALSE(std::isfinite(trainer->step(params, state, batch, 0.1, 1).loss));
        EXPECT_EQ(state.steps, 0);
        EXPECT_EQ(params, std::vector<float>(33, std::numeric_limits<float>::infinity()));
      },
      serve);
}

}  // namespace
}  // namespace rubato
