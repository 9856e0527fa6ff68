#include "rubato/app/build.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/app/memory.h"
#include "rubato/app/methods.h"
#include "rubato/app/run_notes.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

Recipe recipe(std::string_view text, std::string_view method = "custom") {
  const auto parsed = Recipe::parse(RecipeSchema::make(catalogue()), text, "demo.toml");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  const auto own = recipe_for_method(*parsed, method);
  EXPECT_TRUE(own.ok()) << own.status();
  return *own;
}

std::string training_error(std::string_view text) {
  return std::string(training_config(recipe(text), 1).status().message());
}

TEST(Build, AFleetIsItsSpeedsWithTheirComingsAndGoings) {
  const auto config = training_config(
      recipe("[fleet]\nseconds_per_step = [0.5, 2]\njoin_s = [0, 10]\nleave_s = [inf, 40]\n"
             "return_s = [inf, 90.5]\n"),
      1);
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->fleet.size(), 2u);
  EXPECT_EQ(config->num_workers, 2);
  EXPECT_EQ(config->fleet[0].ns_per_step, 500'000'000);
  EXPECT_FALSE(config->fleet[0].leave_at.has_value());
  EXPECT_EQ(config->fleet[1].join_at, 10 * kNanosPerSecond);
  EXPECT_EQ(config->fleet[1].leave_at, 40 * kNanosPerSecond);
  EXPECT_EQ(config->fleet[1].return_at, 90'500'000'000);
}

TEST(Build, LinksAreOneForAllOrOneAWorker) {
  const auto config =
      training_config(recipe("[fleet]\nseconds_per_step = [0.5, 2]\ndown_bytes_per_s = [1.25e7]\n"
                             "up_bytes_per_s = [inf, 1e6]\n[train]\noverlap = \"upload\"\n"),
                      1);
  ASSERT_TRUE(config.ok()) << config.status();
  for (const SimWorker& worker : config->fleet) {
    EXPECT_EQ(worker.link.down_bytes_per_s, 12'500'000);
    EXPECT_EQ(worker.link.latency, 0);
  }
  EXPECT_EQ(config->fleet[0].link.up_bytes_per_s, std::nullopt);
  EXPECT_EQ(config->fleet[1].link.up_bytes_per_s, 1'000'000);
  EXPECT_EQ(config->coordinator.overlap, Overlap::kUpload);
  const auto none = training_config(recipe(""), 1);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_EQ(none->fleet[0].link.down_bytes_per_s, std::nullopt);
  EXPECT_EQ(none->fleet[0].link.up_bytes_per_s, std::nullopt);
  EXPECT_EQ(none->coordinator.overlap, Overlap::kNone);
  EXPECT_EQ(
      training_error("[fleet]\nseconds_per_step = [1, 2, 3]\nlatency_s = [0.1, 0.2]\n"),
      "[recipe] demo.toml:3: fleet.latency_s: got 2 numbers for 3 workers, want one a worker, "
      "one for all or []");
}

TEST(Build, KeysThatContradictEachOtherAreNamedWithTheirLine) {
  EXPECT_EQ(training_error("[fleet]\nseconds_per_step = [1, 2]\njoin_s = [1, 2, 3]\n"),
            "[recipe] demo.toml:3: fleet.join_s: got 3 times for 2 workers, want one a worker or "
            "[]");
  EXPECT_EQ(training_error("[fleet]\nseconds_per_step = [1]\njoin_s = [5]\nleave_s = [5]\n"),
            "[recipe] demo.toml:4: fleet.leave_s: got 5 s for worker 0, want later than it joins");
  EXPECT_EQ(
      training_error("[fleet]\nseconds_per_step = [1]\nreturn_s = [5]\n"),
      "[recipe] demo.toml:3: fleet.return_s: got 5 s for worker 0, want later than it leaves");
  EXPECT_EQ(training_error("[fleet]\nseconds_per_step = []\n"),
            "[recipe] demo.toml:2: fleet.seconds_per_step: got no workers, want one number a "
            "worker");
  EXPECT_EQ(training_error("[lr]\nmax = 0.1\nmin = 0.2\n"),
            "[recipe] demo.toml:3: lr.min: got 0.2, want at most lr.max = 0.1");
  EXPECT_THAT(
      std::string(
          build_workload(recipe("[model]\nkind = \"language-model\"\n"), 1).status().message()),
      HasSubstr("data.directory: got nothing, want what `rubato prepare` wrote"));
}

TEST(Build, TheChainIsWhatTheRecipeNames) {
  const ChainSpec spec =
      chain_spec(recipe("[outer.threshold]\nmax_staleness = 3\n", "async-threshold"));
  EXPECT_THAT(spec.links, ::testing::ElementsAre("weight", "polynomial_discount", "threshold"));
  EXPECT_EQ(spec.rule, "nesterov");
  EXPECT_EQ(std::get<int64_t>(spec.options.at("threshold").at("max_staleness")), 3);
  EXPECT_EQ(spec.options.size(), 4u);
}

TEST(Build, CodecsAreTheRecipesWhereDeltasTravel) {
  const char* text =
      "[codec]\nup = \"top_k\"\ndown = \"bf16\"\n[codec.top_k]\nshare = 0.25\n"
      "[pretrain]\nsteps = 30\n";
  const auto config = training_config(recipe(text), 1);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->up_codec.name, "top_k");
  EXPECT_EQ(config->up_codec.options.at("share"), OptionValue(0.25));
  EXPECT_EQ(config->down_codec.name, "bf16");
  for (const auto& plain :
       {training_config(recipe(text, "k-batch"), 1), pretraining_config(recipe(text), 1)}) {
    ASSERT_TRUE(plain.ok()) << plain.status();
    EXPECT_EQ(plain->up_codec.name, "fp32");
    EXPECT_EQ(plain->down_codec.name, "fp32");
  }
  EXPECT_NE(recipe(text).digest(), recipe("[pretrain]\nsteps = 30\n").digest());
  // Options of a codec that is not chosen are not the run's.
  EXPECT_EQ(recipe("[codec.top_k]\nshare = 0.25\n").digest(), recipe("").digest());
}

TEST(Build, KBatchIsOneWorkerThatStandsForAll) {
  const auto config = training_config(
      recipe("[train]\nbudget_local_steps = 402\nbatch_sequences = 3\n", "k-batch"), 1);
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->fleet.size(), 1u);
  EXPECT_EQ(config->fleet[0].ns_per_step, 3'330'000'000);  // the slowest of the four
  ASSERT_EQ(config->stands_for.size(), 4u);
  EXPECT_EQ(config->stands_for[0].ns_per_step, 580'000'000);
  EXPECT_EQ(config->worker.batch_sequences, 12);
  EXPECT_EQ(config->coordinator.budget_steps, 101);  // 402 local steps are 101 of four
  EXPECT_TRUE(config->merged_data);
}

TEST(Build, PretrainingTakesItsRatesFromLrUnlessItHasItsOwn) {
  const auto own = pretraining_config(
      recipe("[pretrain]\nsteps = 30\nlr_max = 0.5\n[lr]\nmax = 0.1\nmin = 0.01\n"), 1);
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(own->worker.learning_rate.max, 0.5);
  EXPECT_EQ(own->worker.learning_rate.min, 0.01);
  EXPECT_EQ(own->coordinator.budget_steps, 30);
  EXPECT_EQ(own->phase, RunPhase::kPretrain);
}

TEST(Build, MethodsShareAPretrainingUnlessItsKeysDiffer) {
  const char* text =
      "[pretrain]\nsteps = 30\n[methods.dn]\n\"pretrain.lr_max\" = 0.5\n"
      "[methods.dylu]\n\"lr.max\" = 0.5\n";
  EXPECT_EQ(pretraining_key(recipe(text, "sync-diloco")), pretraining_key(recipe(text, "dylu")));
  EXPECT_NE(pretraining_key(recipe(text, "sync-diloco")), pretraining_key(recipe(text, "dn")));
}

TEST(Build, KBatchRefusesAFleetThatComesAndGoes) {
  for (const char* key : {"join_s", "leave_s", "return_s"}) {
    const Recipe fleet = recipe(cat("[fleet]\n", key, " = [0.0, 9.0, 9.0, 9.0]\n"), "k-batch");
    const Status status = training_config(fleet, 1).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(cat("fleet.", key, ": got times in data-parallel mode")));
  }
}

TEST(Build, TimesOfTheFleetStayWithinTheClock) {
  for (const char* key : {"leave_s", "return_s"}) {
    const Recipe fleet = recipe(cat("[fleet]\n", key, " = [inf, inf, inf, 1e300]\n"), "dn");
    EXPECT_THAT(std::string(training_config(fleet, 1).status().message()),
                HasSubstr(cat("fleet.", key, ": got 1e+300 s, want at most 1e+09 s, or inf")));
  }
  const auto latest = training_config(recipe("[fleet]\nleave_s = [inf, inf, inf, 1e9]\n", "dn"), 1);
  ASSERT_TRUE(latest.ok()) << latest.status();
  EXPECT_EQ(latest->fleet[3].leave_at, 1'000'000'000 * kNanosPerSecond);
}

TEST(Memory, CountsEveryPlaneOfEveryWorker) {
  const Recipe own = recipe("[model]\nkind = \"quadratic\"\n[quadratic]\ndim = 100\n", "dn");
  const auto built = build_workload(own, 1);
  ASSERT_TRUE(built.ok()) << built.status();
  const auto config = training_config(own, 1);
  // Theta, published; DN's two planes; four workers with two copies and AdamW's two planes.
  EXPECT_EQ(*phase_bytes(*config, *built->workload), (2 + 2 + 4 * 4) * 100 * 4);
  // Where communication overlaps, a second task with parameters and base of its own.
  SimulationConfig overlapping = *config;
  overlapping.coordinator.overlap = Overlap::kFull;
  EXPECT_EQ(*phase_bytes(overlapping, *built->workload), (2 + 2 + 4 * 6) * 100 * 4);
  // Of each worker: residual, candidate and an encoding, int8 with a scale for 64 values.
  SimulationConfig encoding = *config;
  encoding.up_codec = {"int8", {}};
  const int64_t encoded = make_codec("int8").value()->encoded_bytes(100);
  EXPECT_EQ(*phase_bytes(encoding, *built->workload), (2 + 2 + 4 * 6) * 100 * 4 + 4 * encoded);
  EXPECT_TRUE(check_memory(*config, *built->workload, 8000).ok());
  EXPECT_TRUE(check_memory(*config, *built->workload, -1).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(check_memory(*config, *built->workload, 7999)));
}

TEST(Memory, WhatIsFarTooLargeIsRefusedByItsParametersAlone) {
  const Recipe own = recipe("[model]\nkind = \"quadratic\"\n[quadratic]\ndim = 100\n", "dn");
  const auto built = build_workload(own, 1);
  ASSERT_TRUE(built.ok()) << built.status();
  const auto config = training_config(own, 1);
  // Theta, published; of each of four workers two copies.
  const Status refused = check_memory(*config, *built->workload, 3999);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("want at least "));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("for 100 parameters on 4 workers"));
}

TEST(RunNotes, SurviveACheckpointOrAreRefused) {
  const RunNotes notes{.phase = RunPhase::kPretrain,
                       .offset = {11, 12},
                       .wall_ns = 13,
                       .training_began_ns = 14,
                       .pretrain_steps = 15,
                       .vocabulary = "digest",
                       .mark = BudgetMark{3, 14, 15, "92653589"}};
  const auto again = RunNotes::from_map("c", notes.to_map());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->to_map(), notes.to_map());
  for (const auto& [name, value] : notes.to_map()) {
    if (name == "vocabulary_digest") continue;  // any text is one, open_run compares it
    auto damaged = notes.to_map();
    damaged[name] = "x";
    EXPECT_EQ(std::string(RunNotes::from_map("c", damaged).status().message()),
              cat("[resume] c: got no sound note ", name, ", want all; take an older checkpoint"));
  }
  EXPECT_FALSE(RunNotes::from_map("c", {}).ok());
}

}  // namespace
}  // namespace rubato
