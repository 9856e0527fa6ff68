// The recipes that come with the project: each parses, every method runs under each as far as the
// configuration, and the tiny ones train twice to the same bits.
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "tests/store/temporary_directory.h"
#include <gtest/gtest.h>

#include "rubato/app/build.h"
#include "rubato/app/memory.h"
#include "rubato/app/methods.h"
#include "rubato/app/program.h"
#include "rubato/app/run.h"

namespace rubato {
namespace {

std::vector<std::string> recipe_paths() {
  std::vector<std::string> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(RUBATO_SOURCE_DIR) + "/recipes")) {
    if (entry.path().extension() == ".toml") paths.push_back(entry.path().string());
  }
  return paths;
}

TEST(Recipes, AllThatArePromisedAreThere) {
  for (const char* name :
       {"demo", "toy", "paper-20m", "paper-60m", "paper-150m", "tiny-quadratic", "tiny-lm"}) {
    EXPECT_TRUE(std::filesystem::exists(cat(RUBATO_SOURCE_DIR, "/recipes/", name, ".toml")))
        << name;
  }
}

TEST(Recipes, EveryMethodCanBeConfiguredFromEveryRecipe) {
  const auto schema = RecipeSchema::make(catalogue());
  for (const std::string& path : recipe_paths()) {
    const auto recipe = Recipe::load(schema, path);
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    for (const Method* method : all_methods()) {
      const auto own = recipe_for_method(*recipe, method->name);
      ASSERT_TRUE(own.ok()) << path << ": " << own.status();
      const auto config = training_config(*own, 1);
      ASSERT_TRUE(config.ok()) << path << ": " << config.status();
      if (own->has("pretrain.steps")) {
        EXPECT_TRUE(pretraining_config(*own, 1).ok()) << path;
      }
    }
  }
}

TEST(Recipes, TheBudgetIsWholeRounds) {
  const auto schema = RecipeSchema::make(catalogue());
  for (const std::string& path : recipe_paths()) {
    const auto recipe = Recipe::load(schema, path);
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    const auto workers = static_cast<int64_t>(recipe->reals("fleet.seconds_per_step").size());
    const int64_t round = workers * recipe->integer("train.local_steps");
    EXPECT_EQ(recipe->integer("train.budget_local_steps") % round, 0) << path;
    EXPECT_GE(recipe->integer("train.budget_local_steps") / round, 10) << path;
  }
}

TEST(Recipes, TinyLanguageModelFromTextToSample) {
  const TemporaryDirectory temporary;
  const std::string& directory = temporary.path();
  const std::string source = RUBATO_SOURCE_DIR;
  std::string progress;  // of the last command
  const auto program = [&progress](std::vector<std::string> args) {
    std::ostringstream out, err;
    const int code = run_program(args, {out, err});
    EXPECT_EQ(code, kExitOk) << err.str();
    progress = err.str();
    return out.str();
  };
  const std::string data = directory + "/data";
  program({"prepare", source + "/src/rubato/app", source + "/src/rubato/base", "--out", data,
           "--shards", "2"});
  std::vector<std::string> digests;
  for (const char* threads : {"1", "3"}) {
    const std::string out = cat(directory, "/run-", threads);
    const std::string printed =
        program({"train", source + "/recipes/tiny-lm.toml", "--set", "data.directory=" + data,
                 "--out", out, "--threads", threads, "--json"});
    EXPECT_NE(progress.find("% peak"), std::string::npos) << progress;
    const size_t at = printed.find("\"params_digest\":");
    ASSERT_NE(at, std::string::npos) << printed;
    digests.push_back(printed.substr(at, 50));
    EXPECT_NE(program({"eval", out}).find("perplexity"), std::string::npos);
    EXPECT_EQ(program({"sample", out, "--prompt", "void ", "--tokens", "8"}).substr(0, 5), "void ");
  }
  EXPECT_EQ(digests[0], digests[1]);
  const std::string compared =
      program({"compare", source + "/recipes/tiny-lm.toml", "--set", "data.directory=" + data,
               "--methods", "pretrained,dn-dylu", "--out", directory + "/compare", "--json"});
  EXPECT_NE(compared.find("\ndn-dylu writes:\n  "), std::string::npos) << compared;
  EXPECT_NE(compared.find(cat("rubato sample ", directory, "/compare/dn-dylu")), std::string::npos);
  // A run that only took over a pretraining has no checkpoint: the one before it speaks.
  const std::string turned =
      program({"compare", source + "/recipes/tiny-lm.toml", "--set", "data.directory=" + data,
               "--methods", "dn-dylu,pretrained", "--out", directory + "/turned"});
  EXPECT_NE(turned.find("\ndn-dylu writes:\n  "), std::string::npos) << turned;
  EXPECT_EQ(turned.find("sample " + directory + "/turned/pretrained"), std::string::npos);
  const size_t last_line = compared.rfind('\n', compared.size() - 2) + 1;
  EXPECT_EQ(compared.substr(last_line, 9), "{\"rows\":[");
  EXPECT_NE(program({"report", directory + "/run-1", directory + "/run-3"}).find("report: "),
            std::string::npos);
}

// A model is worth nothing under another tokenizer, even one of the same size.
TEST(Recipes, AModelIsMeasuredWithItsOwnTokenizerOnly) {
  const TemporaryDirectory temporary;
  const std::string& directory = temporary.path();
  const std::string source = RUBATO_SOURCE_DIR;
  std::string errors;
  const auto program = [&errors](std::vector<std::string> args, int want) {
    std::ostringstream out, err;
    EXPECT_EQ(run_program(args, {out, err}), want) << err.str();
    errors = err.str();
    return out.str();
  };
  const auto prepare = [&](const std::string& text, const std::string& name) {
    program({"prepare", source + text, "--out", directory + name, "--vocab", "400"}, kExitOk);
  };
  prepare("/src/rubato/app", "/code");
  prepare("/src/rubato/lm", "/other");
  const std::string out = directory + "/run";
  program(
      {"train", source + "/recipes/tiny-lm.toml", "--set", "data.directory=" + directory + "/code",
       "--set", "train.budget_local_steps=20", "--out", out},
      kExitOk);
  const std::string same = program({"eval", out}, kExitOk);
  for (const char* command : {"eval", "sample"}) {
    program({command, out, "--set", "data.directory=" + directory + "/other"}, kExitError);
    EXPECT_NE(errors.find("got a model trained with tokenizer "), std::string::npos) << errors;
    EXPECT_EQ(std::ranges::count(errors, '\n'), 1);
  }
  // A file of one's own, with the model's tokenizer.
  const std::string file = program({"eval", out, "--text", source + "/docs/formats.md"}, kExitOk);
  EXPECT_NE(file.find("bits/byte"), std::string::npos) << file;
  EXPECT_NE(file, same);
  program({"eval", out, "--text", directory + "/run/checkpoints"}, kExitError);
  program({"eval", out, "--text", directory + "/code/tokenizer.model"}, kExitError);
  EXPECT_NE(errors.find("tokenizer.model: got no UTF-8 at byte "), std::string::npos) << errors;
}

}  // namespace
}  // namespace rubato
