#include "rubato/app/compare.h"

#include <set>

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

TEST(Compare, EverySuccessorHasARowAtEqualTokens) {
  const ComparisonPlan plan{{"sync-diloco", "mla", "mla-theta", "heloco", "heloco-script", "cgad",
                             "dn-dylu-tokens", "quorum", "quorum-rda", "sparse-loco"},
                            {1}};
  // Every method's step as `tune` would find it about right on this quadratic.
  const auto result = compare_methods(recipe({"outer.mla.lr=0.5", "codec.top_k.share=0.1"}), plan,
                                      environment(), silent);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->runs.size(), plan.methods.size());
  std::set<std::string> digests;
  const double start = result->runs[0].log.evals[0].loss_nats;
  for (const RunData& run : result->runs) {
    EXPECT_GE(run.summary.tokens, 800) << run.summary.method;
    EXPECT_LT(run.summary.tokens, 850) << run.summary.method;
    EXPECT_LT(run.summary.val_loss_nats, start) << run.summary.method;
    digests.insert(run.summary.params_digest);
  }
  EXPECT_EQ(digests.size(), plan.methods.size()) << "no two are the same method";
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

constexpr const char* kWildStep = "outer.nesterov.lr=100";

TEST(Compare, ARunThatDivergesIsARowAndTheOthersGoOn) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "c";
  const Recipe wild = recipe({kWildStep, "door.norm_action=off", "train.budget_local_steps=2000"});
  const ComparisonPlan plan{{"pretrained", "sync-diloco", "dn-dylu"}, {1}};
  std::string first;
  for (const bool resume : {false, true}) {
    env.resume = resume;
    const auto result = compare_methods(wild, plan, env, silent);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->runs.size(), 3u);
    const nlohmann::ordered_json rows = comparison_json(result->runs)["rows"];
    EXPECT_EQ(rows[1]["failure"], "diverged");
    EXPECT_TRUE(rows[1]["val_loss_nats"].is_null());
    EXPECT_EQ(rows[2]["failure"], "");
    EXPECT_FALSE(rows[2]["val_loss_nats"].is_null());
    EXPECT_TRUE(rows[2]["time_to_sync_loss_s"].is_null());
    ASSERT_EQ(result->notes.size(), 2u);
    EXPECT_THAT(result->notes[0], HasSubstr("go on to 1.15 x the budget"));
    EXPECT_THAT(result->notes[1], HasSubstr("sync-diloco diverged: [train] got a"));
    EXPECT_TRUE(files.exists("c/sync-diloco/summary.json"));
    if (!resume) first = rows.dump();
    EXPECT_EQ(rows.dump(), first);
  }
}

TEST(Compare, ASeedThatDivergesLeavesNoMean) {
  const Recipe wild = recipe({kWildStep, "door.norm_action=off", "train.budget_local_steps=2000"});
  const auto result = compare_methods(wild, {{"sync-diloco", "dn"}, {1, 2}}, environment(), silent);
  ASSERT_TRUE(result.ok()) << result.status();
  const Table spread = spread_table(result->runs);
  ASSERT_EQ(spread.rows.size(), 2u);
  EXPECT_EQ(spread.rows[0][2], "-");
  EXPECT_NE(spread.rows[1][2], "-");
  EXPECT_EQ(spread.rows[1][3], "-");  // against a baseline that diverged
}

TEST(Compare, WhatComesTwiceIsRefusedBeforeTheFirstRun) {
  const auto methods = compare_methods(recipe(), {{"dn", "dn"}, {1}}, environment(), silent);
  EXPECT_EQ(methods.status().message(), "[compare] --methods: got dn twice, want each once");
  const auto seeds = compare_methods(recipe(), {{"dn"}, {1, 2, 1}}, environment(), silent);
  EXPECT_EQ(seeds.status().message(), "[compare] --seeds: got 1 twice, want each once");
}

TEST(Compare, AMethodThatTheFleetForbidsIsRefusedBeforeTheFirstRun) {
  int runs = 0;
  const auto result =
      compare_methods(recipe({"fleet.leave_s=[20.0, inf, inf, inf]"}), {{"dn", "k-batch"}, {1}},
                      environment(), [&](const std::string&) { ++runs; });
  EXPECT_THAT(std::string(result.status().message()),
              HasSubstr("k-batch: [recipe] --set: fleet.leave_s: got times in data-parallel mode"));
  EXPECT_EQ(runs, 0);
}

TEST(Compare, NothingToResumeIsAnError) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "mistyped";
  env.resume = true;
  const auto result = compare_methods(recipe(), {{"dn"}, {1}}, env, silent);
  EXPECT_TRUE(absl::IsNotFound(result.status())) << result.status();
}

TEST(Compare, ADirectoryOfAnotherComparisonIsNotOverwritten) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "c";
  ASSERT_TRUE(compare_methods(recipe(), {{"dn"}, {1}}, env, silent).ok());
  ASSERT_TRUE(files.replace_file(comparison_path("c"), "{}").ok());
  EXPECT_EQ(compare_methods(recipe(), {{"sync-diloco"}, {1}}, env, silent).status().message(),
            "[compare] c: got a directory that holds a comparison, want a new one; --resume "
            "continues it, --out names another");
  env.resume = true;
  EXPECT_TRUE(compare_methods(recipe(), {{"dn"}, {1}}, env, silent).ok());
}

TEST(Compare, AnOverlayThatMakesAnotherPretrainingIsNoted) {
  const auto base = Recipe::parse(RecipeSchema::make(catalogue()),
                                  cat(kTiny, "[methods.dn]\n\"inner.kind\" = \"adamw\"\n",
                                      "[methods.k-batch]\n\"lr.max\" = 0.08\n"),
                                  "tiny.toml");
  ASSERT_TRUE(base.ok()) << base.status();
  const auto result =
      compare_methods(*base, {{"sync-diloco", "k-batch", "dn"}, {1}}, environment(), silent);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->notes.size(), 2u);
  EXPECT_THAT(result->notes[0], HasSubstr("dn starts from a pretraining of its own"));
}

TEST(Compare, AnUnknownMethodIsFoundBeforeTheFirstRun) {
  int runs = 0;
  const auto result = compare_methods(recipe(), {{"sync-diloco", "dn-dilu"}, {1}}, environment(),
                                      [&](const std::string&) { ++runs; });
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("did you mean dn-dylu?"));
  EXPECT_EQ(runs, 0);
}

const auto keep_nothing = [](const Tuning&) { return absl::OkStatus(); };

StatusOr<Tuning> tune(const Recipe& of, const std::vector<std::string>& methods,
                      const std::vector<double>& grid) {
  return tune_methods(of, {.methods = methods, .grid = grid, .seed = 7}, environment(), silent,
                      keep_nothing);
}

TEST(Tune, FindsTheBestStepAndWritesItIntoTheRecipe) {
  const auto tuning = tune(recipe(), {"sync-diloco", "dn-dylu"}, {0.01, 0.7, 1e2});
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

TEST(Tune, ScalesTheRatesOfKBatch) {
  const auto tuning = tune(recipe(), {"k-batch"}, {});
  ASSERT_TRUE(tuning.ok()) << tuning.status();
  ASSERT_EQ(tuning->trials.size(), 4u);  // tune.factors
  const TuningTrial* best = tuning->best("k-batch");
  ASSERT_NE(best, nullptr);
  EXPECT_GT(best->value, 0.5);  // the recipe's rate is too small for a few large batches
  const auto tuned = tuned_recipe(recipe(), *tuning);
  ASSERT_TRUE(tuned.ok()) << tuned.status();
  EXPECT_EQ(std::get<double>(tuned->overlay("k-batch").at("lr.max")), best->value * 0.05);
  EXPECT_EQ(std::get<double>(tuned->overlay("k-batch").at("lr.min")), best->value * 0.005);
  EXPECT_THAT(tuned->to_toml(), HasSubstr("[methods.k-batch]"));
  // What was measured is what the tuned recipe gives.
  const auto compared = compare_methods(*tuned, {{"k-batch"}, {7}}, environment(), silent);
  ASSERT_TRUE(compared.ok()) << compared.status();
  EXPECT_EQ(compared->runs[0].summary.val_loss_nats, *best->val_loss_nats);
  // Tuning again starts from the recipe's rates, not from what was found.
  const auto again = tune(*tuned, {"k-batch"}, {best->value});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again->trials[0].val_loss_nats, *best->val_loss_nats);
  EXPECT_EQ(tuning_json(*tuning)["rows"][2]["settings"]["lr.max"], 0.1);
}

TEST(Tune, EachMethodTrainsWithItsOwnOptimizer) {
  const auto base =
      Recipe::parse(RecipeSchema::make(catalogue()),
                    cat(kTiny, "[methods.sync-diloco]\n\"inner.kind\" = \"adamw\"\n"), "tiny.toml");
  ASSERT_TRUE(base.ok()) << base.status();
  const auto both = tune(*base, {"dn", "sync-diloco"}, {0.7});
  const auto alone = tune(*base, {"sync-diloco"}, {0.7});
  ASSERT_TRUE(both.ok() && alone.ok());
  EXPECT_EQ(*both->trials[1].val_loss_nats, *alone->trials[0].val_loss_nats);
}

TEST(Tune, AStepThatDivergesIsNotTheBest) {
  const auto tuning = tune(recipe({"door.norm_action=off", "train.budget_local_steps=2000"}),
                           {"sync-diloco"}, {0.7, 100});
  ASSERT_TRUE(tuning.ok()) << tuning.status();
  EXPECT_TRUE(tuning->trials[0].val_loss_nats.has_value());
  EXPECT_FALSE(tuning->trials[1].val_loss_nats.has_value());
  EXPECT_EQ(tuning_table(*tuning).rows[1][2], "diverged");
}

// Every trial is kept as soon as it is done, and a tuning that goes on runs the others only.
TEST(Tune, RunsOnlyWhatIsNotKnown) {
  std::vector<std::string> kept, announced;
  const auto keep = [&](const Tuning& so_far) {
    kept.push_back(tuning_json(so_far).dump());
    return absl::OkStatus();
  };
  const auto announce = [&](const std::string& trial) { announced.push_back(trial); };
  TuningPlan plan{.methods = {"sync-diloco"}, .grid = {0.1, 0.7, 100}, .seed = 7};
  const Recipe of = recipe({"door.norm_action=off", "train.budget_local_steps=2000"});
  const auto whole = tune_methods(of, plan, environment(), announce, keep);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_EQ(kept.size(), 3u);
  for (size_t done = 1; done <= 3; ++done) {
    const auto rows = tuning_rows("tuning.json", kept[done - 1]);
    ASSERT_TRUE(rows.ok()) << rows.status();
    plan.known = known_losses(*rows);
    EXPECT_EQ(plan.known.size(), done);
    announced.clear();
    const auto rest = tune_methods(of, plan, environment(), announce, keep_nothing);
    ASSERT_TRUE(rest.ok()) << rest.status();
    EXPECT_EQ(announced.size(), 3 - done);
    EXPECT_EQ(tuning_json(*rest), tuning_json(*whole));
  }
  EXPECT_FALSE(whole->trials[2].val_loss_nats.has_value());  // known to have diverged
  // Another recipe is another trial.
  announced.clear();
  EXPECT_TRUE(
      tune_methods(recipe({"door.norm_action=off"}), plan, environment(), announce, keep_nothing)
          .ok());
  EXPECT_EQ(announced.size(), 3u);
  for (const char* text : {"", "[]", "{}", R"({"rows":[{}]})", R"({"rows":[{"run":"a"}]})"}) {
    EXPECT_TRUE(absl::IsDataLoss(tuning_rows("tuning.json", text).status())) << text;
  }
}

// A narrower, wider or other plan throws away no trial that was paid for.
TEST(Tune, RowsOfAnEarlierPlanStay) {
  const auto first = tune(recipe(), {"sync-diloco", "dn"}, {0.1, 0.7});
  ASSERT_TRUE(first.ok()) << first.status();
  const nlohmann::ordered_json before = tuning_json(*first)["rows"];
  std::vector<nlohmann::ordered_json> kept;
  const TuningPlan wider{
      .methods = {"dn"}, .grid = {0.3, 0.7}, .seed = 7, .known = known_losses(before)};
  const auto second =
      tune_methods(recipe(), wider, environment(), silent, [&](const Tuning& so_far) {
        kept.push_back(tuning_json(so_far, before)["rows"]);
        return absl::OkStatus();
      });
  ASSERT_TRUE(second.ok()) << second.status();
  kept.push_back(tuning_json(*second, before)["rows"]);
  for (const nlohmann::ordered_json& rows : kept) {
    ASSERT_EQ(rows.size(), 5u);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(rows[i]["run"], before[i]["run"]);
      EXPECT_EQ(rows[i]["val_loss_nats"], before[i]["val_loss_nats"]);
    }
    EXPECT_EQ(rows[4]["value"], 0.3);
  }
}

// A fleet that dies is a fault of the recipe, not a step that is too large.
TEST(Tune, AFleetThatLeavesIsAnError) {
  const auto tuning = tune(recipe({"fleet.leave_s=[9.0, 9.0, 9.0, 9.0]"}), {"dn"}, {0.7});
  EXPECT_TRUE(absl::IsFailedPrecondition(tuning.status())) << tuning.status();
}

TEST(Tune, RefusesWhatCannotBeTuned) {
  const auto message = [](const std::vector<std::string>& methods, const Recipe& of) {
    const auto tuning = tune(of, methods, {});
    EXPECT_TRUE(absl::IsInvalidArgument(tuning.status()));
    return std::string(tuning.status().message());
  };
  EXPECT_EQ(message({"pretrained"}, recipe()),
            "[tune] got pretrained, want a method with a step to tune; leave it out of --methods");
  EXPECT_THAT(message({}, recipe()), HasSubstr("[tune] got no method with a step to tune"));
  EXPECT_THAT(message({"dn", "dn"}, recipe()), HasSubstr("got dn twice"));
  EXPECT_THAT(message({"dn"}, recipe({"tune.grid=[]"})), HasSubstr("got an empty grid"));
  EXPECT_EQ(message({"dn"}, recipe({"tune.grid=[0.7, 0.1, 0.7]"})),
            "[tune] tune.grid: got 0.7 twice, want each once");
}

}  // namespace
}  // namespace rubato
