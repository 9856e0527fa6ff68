#include "rubato/store/retention.h"

#include <algorithm>
#include <set>

#include "tests/store/tiny_run.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Retention, TheLastAndTheMilestonesStay) {
  const std::vector<int64_t> steps{0, 10, 20, 30, 40, 50, 60};
  const auto deleted = [&](int64_t last, std::optional<int64_t> every, int64_t written) {
    return checkpoints_to_delete(steps, {last, every}, written);
  };
  EXPECT_THAT(deleted(2, std::nullopt, 60), ElementsAre(0, 10, 20, 30, 40));
  EXPECT_THAT(deleted(2, 20, 60), ElementsAre(10, 30));
  EXPECT_THAT(deleted(7, std::nullopt, 60), IsEmpty());
  EXPECT_THAT(deleted(100, std::nullopt, 60), IsEmpty());
  EXPECT_THAT(deleted(1, std::nullopt, 20), ElementsAre(0, 10, 30, 40, 50));
}

TEST(Retention, AMilestoneIsTheFirstAtOrBehindAMultipleAndStaysOne) {
  std::vector<int64_t> kept;
  for (int64_t step = 7; step < 700; step += 13) {
    kept.push_back(step);
    for (const int64_t gone : checkpoints_to_delete(kept, {1, 100}, step)) std::erase(kept, gone);
  }
  EXPECT_THAT(kept, ElementsAre(111, 202, 306, 410, 501, 605, 696));
}

TEST(Retention, HoldsForAnySteps) {
  EXPECT_TRUE(rc::check([](const std::set<uint16_t>& given) {
    std::vector<int64_t> steps(given.begin(), given.end());
    std::reverse(steps.begin(), steps.end());
    const int64_t last = *rc::gen::inRange<int64_t>(1, 6);
    const int64_t every = *rc::gen::inRange<int64_t>(1, 50);
    const int64_t written = steps.empty() ? 0 : steps[*rc::gen::inRange<size_t>(0, steps.size())];
    const auto deleted = checkpoints_to_delete(steps, {last, every}, written);
    RC_ASSERT(std::ranges::is_sorted(deleted));
    for (size_t i = 0; i < steps.size(); ++i) {
      const int64_t before = i + 1 < steps.size() ? steps[i + 1] : 0;
      const bool milestone = steps[i] == 0 || steps[i] / every > before / every;
      const bool stays = static_cast<int64_t>(i) < last || milestone || steps[i] == written;
      RC_ASSERT(std::ranges::binary_search(deleted, steps[i]) == !stays);
    }
  }));
}

TEST(Retention, PruningDeletesFromDisk) {
  MemoryFileSystem files;
  for (const int64_t step : {1, 2, 3, 4, 5})
    ASSERT_TRUE(TinyRun::at(step).write(files, "run").ok());
  ASSERT_TRUE(files.remove_file("run/checkpoints/step-1/model.safetensors").ok());
  const auto deleted = prune_checkpoints(files, "run", {2, 3}, 5);
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_THAT(*deleted, ElementsAre(2));
  EXPECT_THAT(
      *list_checkpoints(files, "run"),
      ElementsAre(checkpoint_path("run", 5), checkpoint_path("run", 4), checkpoint_path("run", 3)));
  // The damaged one is somebody's evidence.
  EXPECT_TRUE(files.exists("run/checkpoints/step-1"));
}

}  // namespace
}  // namespace rubato
