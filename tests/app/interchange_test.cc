// export, import and --init as a user meets them: a model trained here, handed over, taken back and
// trained further; and the one number that train, its log, compare and eval agree on.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/app/process.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/app/program.h"
#include "rubato/base/text.h"

namespace rubato {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

struct Outcome {
  int code = 0;
  std::string out, err;
  json last_line() const {
    const size_t begin = out.rfind('\n', out.size() - 2) + 1;
    return json::parse(out.substr(begin));
  }
};

Outcome run(const std::vector<std::string>& args) {
  std::ostringstream out, err;
  const int code = run_program(args, {out, err});
  return {code, out.str(), err.str()};
}

class Interchange : public testing::Test {
 protected:
  void SetUp() override {
    const std::string docs = cat(RUBATO_SOURCE_DIR, "/docs/");
    ok({"prepare", docs + "formats.md", docs + "metrics.md", docs + "operating.md", "--out",
        path("data"), "--vocab", "400", "--shards", "2"});
  }
  std::string path(const std::string& name) const { return temporary_.path() + "/" + name; }
  Outcome ok(const std::vector<std::string>& args) {
    Outcome outcome = run(args);
    EXPECT_EQ(outcome.code, kExitOk) << args[0] << ": " << outcome.err;
    return outcome;
  }
  std::string refused(const std::vector<std::string>& args) {
    const Outcome outcome = run(args);
    EXPECT_EQ(outcome.code, kExitError) << args[0] << ": " << outcome.out;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    return outcome.err;
  }
  std::vector<std::string> training(const std::string& command, const std::string& out,
                                    std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {command, cat(RUBATO_SOURCE_DIR, "/recipes/tiny-lm.toml"),
                                     "--set", cat("data.directory=", path("data")),
                                     "--out", path(out),
                                     "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  json records(const std::string& file) const {
    json all = json::array();
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) all.push_back(json::parse(line));
    return all;
  }

  TemporaryDirectory temporary_;
};

TEST_F(Interchange, ARunGoesOnFromWhatAnotherLeft) {
  ok(training("train", "first", {"--set", "run.method=sync-diloco"}));
  ok({"export", path("first"), "--format", "hf", "--out", path("hf")});
  const Outcome imported = ok({"import", path("hf"), "--out", path("start")});
  EXPECT_THAT(imported.out, HasSubstr("--init " + path("start")));
  EXPECT_EQ(contents(path("hf/model.safetensors")), contents(path("start/model.safetensors")));

  const json before = ok({"eval", path("first"), "--json"}).last_line();
  // `pretrained` trains nothing: what is measured is the model that it starts from.
  const json start =
      ok(training("train", "again", {"--init", path("start"), "--set", "run.method=pretrained"}))
          .last_line();
  EXPECT_EQ(start["val_loss_nats"], before["val_loss_nats"]);
  // The recipe's own shape and pretraining have given way.
  const std::string recipe = contents(path("again/recipe.toml"));
  EXPECT_EQ(recipe.find("[pretrain]"), std::string::npos);
  EXPECT_THAT(recipe, HasSubstr("\ninit = \""));

  const json further = ok(training("compare", "further",
                                   {"--init", path("start"), "--methods", "sync-diloco,dn-dylu",
                                    "--set", "lr.max=3e-4", "--set", "lr.min=1e-4"}))
                           .last_line();
  ASSERT_EQ(further["rows"].size(), 2u);
  for (const json& row : further["rows"])
    EXPECT_LT(row["val_loss_nats"], before["val_loss_nats"]) << row["method"];
}

TEST_F(Interchange, WhatDoesNotFitTheInitialModelIsSaid) {
  ok(training("train", "first"));
  ok({"export", path("first"), "--format", "hf", "--out", path("start")});
  const auto init = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--init", path("start")});
    return training("train", "second", more);
  };
  EXPECT_THAT(refused(init({"--set", "model.width=48"})),
              HasSubstr("--set: model.width: got 48, want 32 as the model in"));
  ok({"prepare", cat(RUBATO_SOURCE_DIR, "/src/rubato/outer"), "--out", path("bytes")});
  const std::string other = refused(init({"--set", cat("data.directory=", path("bytes"))}));
  EXPECT_THAT(other, HasSubstr("got a model with tokenizer"));
  EXPECT_THAT(other, HasSubstr(cat("`rubato prepare TEXT --tokenizer ", path("start"),
                                   "/tokenizer.model --out DIR`")));
  EXPECT_FALSE(fs::exists(path("second")));

  // What the error says to do.
  ok({"prepare", cat(RUBATO_SOURCE_DIR, "/README.md"), cat(RUBATO_SOURCE_DIR, "/CONTRIBUTING.md"),
      "--tokenizer", path("start/tokenizer.model"), "--out", path("same"), "--validation", "0.5"});
  ok(init({"--set", cat("data.directory=", path("same"))}));

  // The run's recipe remembers which model it was.
  const std::string recipe = path("second/recipe.toml");
  EXPECT_THAT(refused({"train", recipe, "--out", path("third")}),
              HasSubstr("--init names its directory"));
}

TEST_F(Interchange, ExportRefusesWhatItCannotDo) {
  ok(training("train", "first"));
  ok({"export", path("first"), "--format", "gguf", "--type", "q8_0", "--out", path("m.gguf")});
  const std::string before = contents(path("m.gguf"));
  EXPECT_THAT(refused({"export", path("first"), "--format", "gguf", "--out", path("m.gguf")}),
              HasSubstr("got a path that is taken"));
  EXPECT_EQ(contents(path("m.gguf")), before);
  EXPECT_THAT(
      refused({"export", path("first"), "--format", "hf", "--type", "q8_0", "--out", path("hf")}),
      HasSubstr("want f32 or f16"));
  EXPECT_THAT(refused({"export", path("data"), "--format", "hf", "--out", path("hf")}),
              HasSubstr("does not say format rubato-checkpoint"));
  EXPECT_THAT(refused({"export", path("nowhere"), "--format", "hf", "--out", path("hf")}),
              HasSubstr("got no run"));
  EXPECT_THAT(refused({"import", path("data"), "--out", path("hf")}), HasSubstr("config.json"));
  EXPECT_FALSE(fs::exists(path("hf")));
}

TEST_F(Interchange, OneLossInTrainItsLogCompareAndEval) {
  const json trained =
      ok(training("train", "run", {"--set", "run.method=sync-diloco"})).last_line();
  const json evaluated = ok({"eval", path("run"), "--json"}).last_line();
  EXPECT_EQ(evaluated["val_loss_nats"], trained["val_loss_nats"]);
  EXPECT_EQ(evaluated["val_perplexity"], trained["val_perplexity"]);
  json last;
  for (const json& record : records(path("run/metrics.jsonl")))
    if (record["kind"] == "eval") last = record;
  EXPECT_EQ(last["loss_nats"], evaluated["val_loss_nats"]);
  EXPECT_EQ(last["bits_per_byte"], evaluated["val_bits_per_byte"]);
  const json compared =
      ok(training("compare", "both", {"--methods", "pretrained,sync-diloco"})).last_line();
  EXPECT_EQ(compared["rows"][1]["val_loss_nats"], trained["val_loss_nats"]);
  // And of a prepared set by its name, of which it says how much it measured.
  const json named =
      ok({"eval", path("run"), "--set", cat("data.directory=", path("data")), "--json"})
          .last_line();
  EXPECT_EQ(named["val_loss_nats"], trained["val_loss_nats"]);
  EXPECT_EQ(named["tokens"], 16 * 32);
}

TEST_F(Interchange, SeveralPromptsAreSeveralTexts) {
  ok(training("train", "run"));
  const auto sample = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"sample", path("run"), "--tokens", "20", "--top-p", "0.9"});
    return ok(more).out;
  };
  const std::string first = sample({"--prompt", "The worker", "--seed", "3"}),
                    second = sample({"--prompt", "A shard", "--seed", "4"});
  EXPECT_THAT(first, ::testing::StartsWith("The worker"));
  EXPECT_EQ(sample({"--prompt", "The worker", "--prompt", "A shard", "--seed", "3"}),
            first + "\n" + second);
}

}  // namespace
}  // namespace rubato
