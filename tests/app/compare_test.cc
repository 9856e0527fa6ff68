#include "rubato/app/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/app/tune.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

constexpr const char* kTiny = R"(
[model]
kind = "quadratic"
[train]
batch_sequences = 2
local_steps = 5
budget_local_steps = 400
[pretrain]
steps = 10
[lr]
max = 0.05
min = 0.005
[inner]
kind = "sgd"
[eval]
every_local_steps = 20
)";

Recipe recipe(std::vector<std::string> sets = {}) {
  const auto parsed = Recipe::parse(RecipeSchema::make(catalogue()), kTiny, "tiny.toml", sets);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *parsed;
}

RunEnvironment environment() {
  RunEnvironment env;
  env.clock = [] { return Nanos{0}; };
  return env;
}

void silent(const std::string&) {}

TEST(Compare, AllMethodsStartFromTheSamePretrainingAtEqualTokens) {
  const ComparisonPlan plan{{"pretrained", "k-batch", "sync-diloco", "async-nesterov", "dn-dylu"},
                            {1}};
  const auto result = compare_methods(recipe(), plan, environment(), silent);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->runs.size(), 5u);
  const double start = result->runs[0].summary.val_loss_nats;
  for (const RunData& run : result->runs) {
    const auto first = std::ranges::find(run.log.evals, RunPhase::kTrain, &EvalRecord::phase);
    EXPECT_EQ(first->loss_nats, start) << run.summary.method;
    if (run.summary.method == "pretrained") continue;
    EXPECT_GE(run.summary.tokens, 800);
    EXPECT_LT(run.summary.tokens, 820);
  }
}

TEST(Compare, TimeToSyncLossIsCountedBeyondTheBudgetAndNullWhenNever) {
  const ComparisonPlan plan{{"sync-diloco", "dn-dylu", "pretrained"}, {3}};
  const auto result = compare_methods(recipe(), plan, environment(), silent);
  ASSERT_TRUE(result.ok()) << result.status();
  const RunSummary& sync = result->runs[0].summary;
  ASSERT_TRUE(sync.time_to_sync_loss_s.has_value());
  EXPECT_LE(*sync.time_to_sync_loss_s, sync.virtual_time_s);
  EXPECT_GE(result->runs[1].log.evals.back().local_steps, 460);  // 1.15 times the budget
  EXPECT_FALSE(result->runs[2].summary.time_to_sync_loss_s.has_value());
  const nlohmann::ordered_json json = comparison_json(result->runs);
  EXPECT_TRUE(json["rows"][2]["time_to_sync_loss_s"].is_null());
  for (const char* key :
       {"schema_version", "build_id", "data_digest", "recipe_digest", "method", "seed",
        "local_steps", "tokens", "server_updates", "val_loss_nats", "val_perplexity",
        "virtual_time_s", "wall_time_s", "train_tokens_per_s", "staleness_mean", "staleness_max",
        "time_to_sync_loss_s", "params_digest"}) {
    EXPECT_TRUE(json["rows"][0].contains(key)) << key;
  }
}

TEST(Compare, WithoutAReferenceNobodyGoesOnBeyondTheBudget) {
  const auto result = compare_methods(recipe(), {{"dn-dylu"}, {1}}, environment(), silent);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_LT(result->runs[0].log.evals.back().local_steps, 420);
}

TEST(Compare, SeedsGetTheirOwnRowsAndASpread) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "c";
  const auto result =
      compare_methods(recipe(), {{"sync-diloco", "dn-dylu"}, {1, 2, 3}}, env, silent);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->runs.size(), 6u);
  EXPECT_TRUE(files.exists("c/dn-dylu-seed-2/summary.json"));
  const Table spread = spread_table(result->runs);
  ASSERT_EQ(spread.rows.size(), 2u);
  EXPECT_EQ(spread.rows[0][0], "sync-diloco");
  EXPECT_EQ(spread.rows[0][3], "0 +- 0");
  EXPECT_TRUE(spread_table(std::span(result->runs).first(2)).rows.empty());
}

TEST(Compare, AnUnknownMethodIsFoundBeforeTheFirstRun) {
  int runs = 0;
  const auto result = compare_methods(recipe(), {{"sync-diloco", "dn-dilu"}, {1}}, environment(),
                                      [&](const std::string&) { ++runs; });
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("did you mean dn-dylu?"));
  EXPECT_EQ(runs, 0);
}

TEST(Tune, FindsTheBestStepAndWritesItIntoTheRecipe) {
  const auto tuning = tune_methods(recipe(), {"sync-diloco", "dn-dylu"}, {0.01, 0.7, 1e2}, 7,
                                   environment(), silent);
  ASSERT_TRUE(tuning.ok()) << tuning.status();
  ASSERT_EQ(tuning->trials.size(), 6u);
  for (const char* method : {"sync-diloco", "dn-dylu"}) {
    const TuningTrial* best = tuning->best(method);
    ASSERT_NE(best, nullptr);
    EXPECT_EQ(best->value, 0.7);
    EXPECT_FALSE(tuning->at_edge(*best));
  }
  const auto tuned = tuned_recipe(recipe(), *tuning);
  ASSERT_TRUE(tuned.ok()) << tuned.status();
  EXPECT_EQ(std::get<double>(tuned->overlay("dn-dylu").at("outer.delayed_nesterov.lr")), 0.7);
  EXPECT_EQ(tuned->integer("run.seed"), 1);  // the recipe's own, not the tuning's
  EXPECT_EQ(tuning_json(*tuning)["seed"], 7);
  EXPECT_EQ(tuning_table(*tuning).rows[1][3], "best");
}

TEST(Tune, RefusesWhatHasNoOuterStep) {
  const auto tuning = tune_methods(recipe(), {"k-batch"}, {0.1}, 7, environment(), silent);
  EXPECT_EQ(tuning.status().message(),
            "[tune] k-batch: has no outer step; leave it out of --methods");
  EXPECT_FALSE(tune_methods(recipe(), {"dn"}, {}, 7, environment(), silent).ok());
}

}  // namespace
}  // namespace rubato
