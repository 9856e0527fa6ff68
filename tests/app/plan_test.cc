#include "rubato/app/plan.h"

#include <algorithm>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/app/program.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A million parameters, unequal workers behind 4 Mbit/s.
constexpr const char* kFleet = R"(
[model]
kind = "opaque"
[opaque]
tokens_per_sequence = 100
[train]
batch_sequences = 2
[fleet]
seconds_per_step = [1.0, 2.0]
up_bytes_per_s = [500e3]
down_bytes_per_s = [500e3]
latency_s = [0.05]
)";
constexpr int64_t kParams = 1'000'000;

Recipe recipe(std::vector<std::string> sets = {}) {
  const auto parsed = Recipe::parse(RecipeSchema::make(catalogue()), kFleet, "fleet.toml", sets);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *parsed;
}

PlanGrid grid() {
  return {{"sync-diloco", "dn-dylu"},
          {10, 100},
          {"none", "full"},
          {{"fp32", "fp32"}, {"int8", "bf16"}}};
}

StatusOr<Plan> plan_of(const Recipe& recipe, const PlanGrid& grid, const PlanLimits& limits = {}) {
  const auto model = model_facts(recipe, kParams);
  EXPECT_TRUE(model.ok()) << model.status();
  return make_plan(recipe, grid, limits, *model);
}

std::string words_of(const Status& status) { return std::string(status.message()); }

const PlanRow* find(const Plan& plan, const std::string& method, int64_t h,
                    const std::string& overlap, const std::string& up) {
  const auto it = std::ranges::find_if(plan.rows, [&](const PlanRow& row) {
    return row.method == method && row.local_steps == h && row.overlap == overlap &&
           row.codecs.up == up;
  });
  return it == plan.rows.end() ? nullptr : &*it;
}

TEST(Plan, EveryCombinationThatCanBeIsARowTheFastestFirst) {
  const auto plan = plan_of(recipe(), grid());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->rows.size(), 12u);  // a round overlaps with nothing
  EXPECT_EQ(find(*plan, "sync-diloco", 10, "full", "fp32"), nullptr);
  EXPECT_TRUE(std::ranges::is_sorted(plan->rows, {}, &PlanRow::seconds_per_1b_tokens));
  EXPECT_DOUBLE_EQ(plan->ideal_tokens_per_s, 300);
}

TEST(Plan, RoundsOfTheSlowestWorker) {
  const auto plan = plan_of(recipe(), grid());
  ASSERT_TRUE(plan.ok()) << plan.status();
  const PlanRow* row = find(*plan, "sync-diloco", 10, "none", "fp32");
  ASSERT_NE(row, nullptr);
  // 10 steps of 2 s, 8 s down, 8 s up, a tenth of latency; two workers of 200 tokens a step.
  EXPECT_NEAR(row->figures.tokens_per_s(), 2 * 10 * 200 / 36.1, 0.5);
  EXPECT_NEAR(row->gb_up_per_day(), 2 * 4e-3 * 86400 / 36.1, 0.3);
  EXPECT_EQ(row->figures.staleness_quantile(1), 0);
}

TEST(Plan, LongerTasksCoarserCodecsAndOverlapAllSaveTime) {
  const auto plan = plan_of(recipe(), grid());
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto speed = [&](int64_t h, const char* overlap, const char* up) {
    return find(*plan, "dn-dylu", h, overlap, up)->figures.utilisation();
  };
  EXPECT_LT(speed(10, "none", "fp32"), speed(100, "none", "fp32"));
  EXPECT_LT(speed(10, "none", "fp32"), speed(10, "none", "int8"));
  EXPECT_LT(speed(10, "none", "int8"), speed(10, "full", "int8"));
  EXPECT_LE(speed(100, "full", "int8"), 1 + 1e-9);
}

TEST(Plan, OfWhatCostsTheSameTimeThePlainestIsRecommended) {
  const auto strict = plan_of(recipe(), grid(), {.tolerance = 0});
  ASSERT_TRUE(strict.ok()) << strict.status();
  EXPECT_EQ(strict->recommended, 0u);
  EXPECT_THAT(strict->reason, HasSubstr("nothing within the limits is faster"));
  const auto loose = plan_of(recipe(), grid(), {.tolerance = 0.2});
  ASSERT_TRUE(loose.ok()) << loose.status();
  const PlanRow& row = loose->rows[loose->recommended];
  EXPECT_EQ(plan_keys(row),
            "run.method = \"dn-dylu\", train.local_steps = 100, train.overlap = \"none\", "
            "codec.up = \"fp32\", codec.down = \"fp32\"");
  EXPECT_THAT(loose->reason, HasSubstr("sync-diloco reaches"));
  // A fleet of equals has no use for asynchrony.
  const auto equals =
      plan_of(recipe({"fleet.seconds_per_step=[1.0,1.0]"}), grid(), {.tolerance = 0.2});
  ASSERT_TRUE(equals.ok()) << equals.status();
  EXPECT_EQ(equals->rows[equals->recommended].method, "sync-diloco");
}

TEST(Plan, LimitsBindTheRecommendation) {
  const auto plan = plan_of(recipe(), grid(), {.staleness_most = 0});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->rows[plan->recommended].method, "sync-diloco");
  EXPECT_FALSE(find(*plan, "dn-dylu", 100, "full", "fp32")->keeps_limits);
  EXPECT_THAT(words_of(plan_of(recipe(), grid(), {.gb_per_day = 1e-6}).status()),
              StartsWith("[plan] got limits that none of 12 combinations keeps"));
}

TEST(Plan, WhatCannotBeIsLeftOutWithTheReason) {
  PlanGrid own = grid();
  own.methods = {"custom"};
  const auto plan = plan_of(recipe({"gate.kind=barrier"}), own);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->rows.size(), 4u);
  ASSERT_EQ(plan->left_out.size(), 4u);
  EXPECT_THAT(plan->left_out[0], HasSubstr("overlapping communication behind a gate"));
  own.overlaps = {"full"};
  EXPECT_THAT(words_of(plan_of(recipe({"gate.kind=barrier"}), own).status()),
              StartsWith("[coordinator] got overlapping communication"));
  own.methods = {"pretrained"};
  EXPECT_THAT(words_of(plan_of(recipe(), own).status()), HasSubstr("has no workers"));
}

TEST(Plan, KBatchIsOneRow) {
  PlanGrid own = grid();
  own.methods = {"k-batch"};
  const auto plan = plan_of(recipe(), own);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->rows.size(), 1u);
  EXPECT_NEAR(plan->rows[0].figures.tokens_per_s(), 400 / 18.1, 0.3);
  EXPECT_EQ(plan_keys(plan->rows[0]), "run.method = \"k-batch\"");
}

TEST(Plan, TheFleetIsRepeated) {
  const auto five = with_workers(recipe({"fleet.latency_s=[0.1,0.2]", "fleet.leave_s=[5,6]"}), 5);
  ASSERT_TRUE(five.ok()) << five.status();
  EXPECT_EQ(five->reals("fleet.seconds_per_step"), (std::vector<double>{1, 2, 1, 2, 1}));
  EXPECT_EQ(five->reals("fleet.latency_s"), (std::vector<double>{0.1, 0.2, 0.1, 0.2, 0.1}));
  EXPECT_EQ(five->reals("fleet.up_bytes_per_s").size(), 1u);
  EXPECT_TRUE(five->reals("fleet.leave_s").empty());
}

TEST(Plan, TheModelIsKnownWithoutItsData) {
  const auto parse = [](const char* text) {
    return *Recipe::parse(RecipeSchema::make(catalogue()), text, "model.toml");
  };
  const auto model =
      model_facts(parse("[model]\npreset = \"20m\"\n[data]\ndirectory = \"no/where\"\n"), {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->num_params,
            2 * 32000 * 256 + 256 + 6 * (2 * 256 + 4 * 256 * 256 + 3 * 256 * 704));
  EXPECT_EQ(model->tokens_per_sequence, 256);
  EXPECT_EQ(
      model_facts(parse("[model]\nkind = \"quadratic\"\n[quadratic]\ndim = 7\n"), {})->num_params,
      7);
  EXPECT_EQ(model_facts(parse("[model]\nkind = \"toy\"\n[toy]\ninputs = 3\nhidden = 5\n"), {})
                ->num_params,
            5 * 3 + 5 + 4 * 5 + 4);
  EXPECT_THAT(words_of(model_facts(recipe(), {}).status()), HasSubstr("want --params N"));
}

TEST(Plan, CodecsCarryBothWays) {
  EXPECT_EQ(*parse_codec_pair("bf16"), (PlanGrid::CodecPair{"bf16", "bf16"}));
  EXPECT_EQ(*parse_codec_pair("int8"), (PlanGrid::CodecPair{"int8", "bf16"}));
  EXPECT_EQ(*parse_codec_pair("top_k/fp32"), (PlanGrid::CodecPair{"top_k", "fp32"}));
  EXPECT_THAT(words_of(parse_codec_pair("int8/int8").status()), HasSubstr("want UP/DOWN"));
  EXPECT_THAT(words_of(parse_codec_pair("int9").status()), HasSubstr("int8"));
}

struct Outcome {
  int code = 0;
  std::string out, err;
};

Outcome run(std::vector<std::string> more) {
  std::vector<std::string> args = {"plan",
                                   std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml"};
  args.insert(args.end(), more.begin(), more.end());
  std::ostringstream out, err;
  const int code = run_program(args, {out, err});
  return {code, out.str(), err.str()};
}

TEST(PlanCommand, PrintsATableARecommendationAndJson) {
  const Outcome outcome = run({"--h", "5,10", "--rows", "3", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("and 29 slower ones"));
  EXPECT_THAT(outcome.out, HasSubstr("\nrecommended: run.method = "));
  const size_t last_line = outcome.out.rfind('\n', outcome.out.size() - 2) + 1;
  const auto json = nlohmann::json::parse(outcome.out.substr(last_line));
  EXPECT_EQ(json["rows"].size(), 32u);
  EXPECT_TRUE(json["rows"][0].contains("s_per_1b_tokens"));
  EXPECT_TRUE(json["recommended"]["reason"].is_string());
}

TEST(PlanCommand, WhatSetGivesIsTriedAlone) {
  const Outcome outcome = run({"--set", "train.local_steps=7", "--set", "codec.up=int4", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const size_t last_line = outcome.out.rfind('\n', outcome.out.size() - 2) + 1;
  for (const auto& row : nlohmann::json::parse(outcome.out.substr(last_line))["rows"]) {
    EXPECT_EQ(row["local_steps"], 7);
    EXPECT_EQ(row["codec_up"], "int4");
  }
}

TEST(PlanCommand, BadInputIsOneLine) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"--h", "0"}, "[usage] --h"},
      {{"--overlap", "some"}, "[usage] --overlap"},
      {{"--codecs", "zip"}, "plan --codecs"},
      {{"--methods", "dn-dilu"}, "did you mean"},
      {{"--methods", "dn,dn"}, "got dn twice"},
      {{"--h", "5", "--set", "train.local_steps=7"}, "want it from there alone"},
      {{"--workers", "0"}, "[usage] --workers"},
      {{"--max-gb-per-day", "nan"}, "[usage] --max-gb-per-day"},
      {{"--set", "fleet.up_bytes_per_s=[0]"}, "fleet.up_bytes_per_s"},
      {{"--set", "fleet.up_bytes_per_s=[1,2,3]"}, "want one a worker"},
  };
  for (const auto& [args, words] : cases) {
    const Outcome outcome = run(args);
    EXPECT_NE(outcome.code, 0) << words;
    EXPECT_THAT(outcome.err, HasSubstr(words));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  }
}

}  // namespace
}  // namespace rubato
