// Experiments' files: each that comes with the project can be planned, and what is wrong in one is
// said with its line.
#include "rubato/app/experiment.h"

#include <filesystem>
#include <fstream>

#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/app/evidence_plan.h"
#include "rubato/app/methods.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

const std::string kEvidence = std::string(RUBATO_SOURCE_DIR) + "/recipes/evidence";

constexpr const char* kSmall = R"(title = "T"
base = "base.toml"
seeds = [1, 2]
[cells.a]
label = "A"
[rows.sync]
method = "sync-diloco"
)";

class ExperimentFile : public ::testing::Test {
 protected:
  StatusOr<Experiment> load(const std::string& text) {
    const std::string path = directory_.path() + "/e.toml";
    std::ofstream(path) << text;
    return load_experiment(path);
  }
  StatusOr<TuningFile> load_tuning(const std::string& text) {
    const std::string path = directory_.path() + "/t.toml";
    std::ofstream(path) << text;
    return load_tuning_file(path);
  }
  std::string message(const std::string& text) {
    return std::string(load(text).status().message());
  }

  TemporaryDirectory directory_;
};

TEST_F(ExperimentFile, EveryOneOfTheProjectCanBePlanned) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kEvidence)) {
    if (entry.path().extension() != ".toml") continue;
    ++count;
    const auto experiment = load_experiment(entry.path().string());
    ASSERT_TRUE(experiment.ok()) << experiment.status();
    TunedSteps tuned;
    if (!experiment->tuning.empty()) {
      const auto tuning = load_tuning_file(experiment->tuning);
      ASSERT_TRUE(tuning.ok()) << tuning.status();
      EXPECT_EQ(std::ranges::count(experiment->seeds, tuning->seed), 0)
          << "a seed that was tuned on says nothing";
      const auto base = recipe_under(tuning->base, tuning->sets);
      ASSERT_TRUE(base.ok()) << base.status();
      for (size_t m = 0; m < tuning->methods.size(); ++m) {
        const Method* method = *find_method(tuning->methods[m]);
        for (const auto& [key, value] : method->tuned_values(*base, tuning->grids[m].front())) {
          tuned[method->name].emplace_back(key, value);
        }
      }
    }
    const auto plan = plan_experiment(*experiment, tuned);
    ASSERT_TRUE(plan.ok()) << plan.status();
    for (const PlannedRun& run : *plan) {
      const auto workers = std::ssize(run.recipe.reals("fleet.seconds_per_step"));
      EXPECT_GE(run.recipe.integer("train.budget_local_steps"),
                30 * workers * run.recipe.integer("train.local_steps"))
          << experiment->name << ": fewer than 30 rounds are not published";
    }
  }
  EXPECT_GE(count, 4u);
}

TEST_F(ExperimentFile, NamesItsFilesFromWhereItStands) {
  const auto experiment = load(kSmall);
  ASSERT_TRUE(experiment.ok()) << experiment.status();
  EXPECT_EQ(experiment->name, "e");
  EXPECT_EQ(experiment->base, directory_.path() + "/base.toml");
  EXPECT_EQ(experiment->cells[0].label, "A");
  EXPECT_EQ(experiment->rows[0].label, "sync");
}

TEST_F(ExperimentFile, SaysWhatIsWrongAndWhere) {
  const std::string small = kSmall;
  EXPECT_THAT(message(small + "cellls = [\"a\"]\n"), HasSubstr("e.toml:8: unknown key cellls"));
  EXPECT_THAT(message(small + "tuned = 3\n"), HasSubstr("want true or false"));
  EXPECT_THAT(message(small + "tuned = true\n"), HasSubstr("without a tuning"));
  EXPECT_THAT(message(small + "cells = [\"b\"]\n"), HasSubstr("got cell b"));
  EXPECT_THAT(message(small + "paper = [1.0, 2.0]\n"), HasSubstr("want one a cell: 1"));
  EXPECT_THAT(message("title = \"T\"\n"), HasSubstr("no whole experiment"));
  EXPECT_THAT(message("seeds = [1.5]\n"), HasSubstr("want a list of integers"));
  EXPECT_THAT(message(small + "[rows.x]\nmethod = \"sink-diloco\"\n"), HasSubstr("sync-diloco"));
}

TEST_F(ExperimentFile, GridsAreOfOneSize) {
  const auto tuning =
      load_tuning("base = \"b\"\nseed = 1000\n[grids]\ndn = [0.1, 0.2]\ndylu = [1.0]\n");
  EXPECT_THAT(std::string(tuning.status().message()), HasSubstr("dylu: got a grid of 1 values"));
}

}  // namespace
}  // namespace rubato
