#include "rubato/app/methods.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/app/build.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Recipe recipe(std::string_view text, std::vector<std::string> sets = {}) {
  StatusOr<Recipe> parsed = Recipe::parse(RecipeSchema::make(catalogue()), text, "demo.toml", sets);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *parsed;
}

TEST(Methods, EveryMethodIsARecipe) {
  const Recipe base = recipe("");
  for (const Method* method : all_methods()) {
    const StatusOr<Recipe> own = recipe_for_method(base, method->name);
    ASSERT_TRUE(own.ok()) << own.status();
    EXPECT_EQ(own->text("run.method"), method->name);
    if (method->tuned_key.empty()) continue;
    EXPECT_TRUE(own->resolved().count(method->tuned_key)) << method->name;
  }
}

TEST(Methods, AreWhatTheirNamesSay) {
  const Recipe base = recipe("");
  const Recipe sync = *recipe_for_method(base, "sync-diloco");
  EXPECT_EQ(sync.text("gate.kind"), "barrier");
  EXPECT_EQ(sync.text("outer.rule"), "nesterov");
  EXPECT_EQ(sync.text("policy.kind"), "fixed");
  EXPECT_TRUE(sync.texts("outer.links").empty());
  const Recipe nesterov = *recipe_for_method(base, "async-nesterov");
  EXPECT_EQ(nesterov.text("gate.kind"), "grace");
  EXPECT_THAT(nesterov.texts("outer.links"), ElementsAre("weight"));
  const Recipe dn = *recipe_for_method(base, "dn-dylu");
  EXPECT_EQ(dn.text("outer.rule"), "delayed_nesterov");
  EXPECT_EQ(dn.text("policy.kind"), "dylu");
}

TEST(Methods, SuccessorsAreWhatTheirNamesSay) {
  const Recipe base = recipe("[train]\noverlap = \"full\"\n");
  const auto named = [&](const char* name) { return *recipe_for_method(base, name); };
  EXPECT_EQ(named("mla").text("outer.mla.dispatch"), "look_ahead");
  EXPECT_EQ(named("mla-theta").text("outer.mla.dispatch"), "theta");
  for (const char* name : {"heloco", "heloco-script"}) {
    EXPECT_THAT(named(name).texts("outer.links"), ElementsAre("heloco", "weight"));
    EXPECT_EQ(named(name).text("outer.rule"), "mla");
    EXPECT_EQ(named(name).text("outer.mla.dispatch"), "look_ahead");
  }
  EXPECT_EQ(named("heloco").text("outer.heloco.variant"), "formula");
  EXPECT_EQ(named("heloco-script").text("outer.heloco.variant"), "script");
  EXPECT_THAT(named("cgad").texts("outer.links"), ElementsAre("weight", "age_gate"));
  EXPECT_EQ(named("cgad").text("outer.rule"), "adam");
  EXPECT_THAT(named("dn-dylu-tokens").texts("outer.links"), ElementsAre("token_weight"));
  for (const char* name : {"quorum", "quorum-rda"}) {
    EXPECT_EQ(named(name).text("gate.quorum.weight"), "tokens");
    EXPECT_EQ(named(name).text("train.overlap"), "none");
  }
  EXPECT_THAT(named("quorum-rda").texts("outer.links"), ElementsAre("radial_directional"));
  EXPECT_EQ(named("sparse-loco").text("codec.up"), "top_k");
  EXPECT_EQ(named("sparse-loco").text("gate.kind"), "barrier");
}

TEST(Methods, RoundsHaveNothingToOverlap) {
  const Recipe base = recipe("[train]\noverlap = \"full\"\n");
  EXPECT_EQ(recipe_for_method(base, "sync-diloco")->text("train.overlap"), "none");
  EXPECT_EQ(recipe_for_method(base, "dn-dylu")->text("train.overlap"), "full");
}

TEST(Methods, ResolvedRecipeReadsBackAsTheSameMethod) {
  const Recipe base = recipe("[methods.dn-dylu]\n\"outer.delayed_nesterov.lr\" = 0.4\n");
  const Recipe dn = *recipe_for_method(base, "dn-dylu");
  const Recipe again = recipe(dn.to_toml());
  EXPECT_EQ(dn, again.narrowed());
  EXPECT_EQ(*recipe_for_method(again, "dn-dylu"), dn);
}

TEST(Methods, OverlayBeatsTheFileAndSetBeatsTheOverlay) {
  const char* text =
      "[outer.nesterov]\nlr = 0.7\n[methods.async-nesterov]\n\"outer.nesterov.lr\" = 0.2\n";
  EXPECT_EQ(recipe_for_method(recipe(text), "async-nesterov")->real("outer.nesterov.lr"), 0.2);
  EXPECT_EQ(recipe_for_method(recipe(text), "sync-diloco")->real("outer.nesterov.lr"), 0.7);
  EXPECT_EQ(recipe_for_method(recipe(text, {"outer.nesterov.lr=0.5"}), "async-nesterov")
                ->real("outer.nesterov.lr"),
            0.5);
}

TEST(Methods, ContradictingAMethodIsAnError) {
  const auto named = recipe_for_method(
      recipe("[run]\nmethod = \"dn-dylu\"\n[gate]\nkind = \"free\"\n"), "dn-dylu");
  EXPECT_EQ(named.status().message(),
            "[recipe] demo.toml:4: gate.kind: got \"free\", want \"grace\" as method dn-dylu has "
            "it; leave "
            "it out, or say run.method = \"custom\"");
  const auto set = recipe_for_method(recipe("", {"policy.kind=dylu"}), "sync-diloco");
  EXPECT_THAT(std::string(set.status().message()), HasSubstr("--set: policy.kind: got \"dylu\""));
  // In a comparison the file's own gate is what `custom` means, no contradiction.
  EXPECT_TRUE(recipe_for_method(recipe("[gate]\nkind = \"free\"\n"), "dn-dylu").ok());
}

TEST(Methods, ASetKeyThatNothingReadsIsAnError) {
  const Recipe base = recipe("", {"outer.nesterov.lr=0.3", "lr.max=0.1"});
  const std::vector<Recipe> both = {*recipe_for_method(base, "dn"),
                                    *recipe_for_method(base, "sync-diloco")};
  EXPECT_TRUE(check_sets_have_effect(base, both).ok());
  EXPECT_EQ(std::string(check_sets_have_effect(base, std::span(both).first(1)).message()),
            "[recipe] --set: outer.nesterov.lr: got a key without effect under dn of a "
            "language-model, want one in force; outer.rule is \"delayed_nesterov\"");
  // What only text has, where there is none.
  for (const char* set : {"train.lanes=4", "train.sequence_length=64", "eval.sequences=9",
                          "model.width=64", "data.directory=text"}) {
    for (const char* kind : {"language-model", "toy", "quadratic"}) {
      const Recipe of = recipe(cat("[model]\nkind = \"", kind, "\"\n"), {set});
      const Recipe narrowed = *recipe_for_method(of, "dn");
      EXPECT_EQ(check_sets_have_effect(of, std::span(&narrowed, 1)).ok(),
                std::string_view(kind) == "language-model")
          << set << " " << kind;
    }
  }
}

TEST(Methods, RatesOfAMethodLeaveThePretrainingAlone) {
  const Recipe base = recipe(
      "[pretrain]\nsteps = 5\n[lr]\nmax = 0.1\n[methods.k-batch]\n\"lr.max\" = 0.4\n"
      "\"lr.min\" = 0.01\n\"lr.warmup_steps\" = 7\n");
  const Recipe dn = *recipe_for_method(base, "dn"), all = *recipe_for_method(base, "k-batch");
  EXPECT_EQ(all.real("lr.max"), 0.4);
  EXPECT_EQ(all.real("pretrain.lr_max"), 0.1);
  EXPECT_EQ(all.integer("pretrain.warmup_steps"), 100);
  EXPECT_EQ(pretraining_key(all), pretraining_key(dn));
  const auto a = pretraining_config(all, 1), b = pretraining_config(dn, 1);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->worker.learning_rate.max, b->worker.learning_rate.max);
  EXPECT_EQ(a->worker.learning_rate.min, b->worker.learning_rate.min);
  EXPECT_FALSE(recipe_for_method(recipe(""), "dn")->has("pretrain.lr_max"));
}

TEST(Methods, AWrongRateIsBlamedOnTheKeyThatWasGiven) {
  const auto message = [](std::string_view text, std::vector<std::string> sets) {
    const Recipe dn = *recipe_for_method(recipe(text, std::move(sets)), "dn");
    return std::string(pretraining_config(dn, 1).status().message());
  };
  EXPECT_EQ(message("[pretrain]\nsteps = 5\n", {"lr.min=1", "lr.max=0.1"}),
            "[recipe] --set: lr.min: got 1, want at most lr.max = 0.1");
  EXPECT_EQ(message("[pretrain]\nsteps = 5\nlr_min = 1\n", {"lr.max=0.1"}),
            "[recipe] demo.toml:3: pretrain.lr_min: got 1, want at most lr.max = 0.1");
}

TEST(Methods, UnknownMethodNamesTheNearest) {
  EXPECT_EQ(std::string(recipe_for_method(recipe(""), "dn-dilu").status().message()),
            "[method] unknown method dn-dilu (did you mean dn-dylu?)");
}

}  // namespace
}  // namespace rubato
