// Whole runs of tiny recipes in memory and over a file system in memory: the same bits whatever the
// threads, interruptions and resumptions; refusals that say why.
#include "rubato/app/run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/app/build.h"
#include "rubato/app/methods.h"
#include "rubato/store/checkpoint.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

constexpr const char* kTiny = R"(
[model]
kind = "quadratic"
[quadratic]
noise = 0.1
[train]
batch_sequences = 2
local_steps = 5
budget_local_steps = 200
[pretrain]
steps = 15
[lr]
max = 0.05
min = 0.005
warmup_steps = 3
[eval]
every_local_steps = 40
[checkpoint]
every_local_steps = 50
keep_last = 100
)";

Recipe recipe_for(std::string_view method, std::vector<std::string> sets = {}) {
  const auto base = Recipe::parse(RecipeSchema::make(catalogue()), kTiny, "tiny.toml", sets);
  EXPECT_TRUE(base.ok()) << base.status();
  const auto recipe = recipe_for_method(*base, method);
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  return *recipe;
}

RunEnvironment environment() {
  RunEnvironment env;
  env.clock = [] { return Nanos{0}; };
  env.build_id = "test";
  return env;
}

StatusOr<RunResult> run(const Recipe& recipe, const RunEnvironment& env) {
  const auto built = build_workload(recipe, 1);
  EXPECT_TRUE(built.ok()) << built.status();
  return run_recipe(recipe, *built->workload, built->data_digest, env);
}

// A clock that stands still and raises a flag when it was read so many times: a run reads it at
// every evaluation and checkpoint.
class StopAfter {
 public:
  explicit StopAfter(int readings) : left_(readings) {}
  Nanos operator()() {
    if (--left_ <= 0) flag = true;
    return 0;
  }
  std::atomic<bool> flag{false};

 private:
  int left_;
};

TEST(Run, EveryMethodReachesTheBudget) {
  for (const Method* method : all_methods()) {
    const auto result = run(recipe_for(method->name), environment());
    ASSERT_TRUE(result.ok()) << method->name << ": " << result.status();
    const RunSummary& summary = result->data.summary;
    EXPECT_EQ(summary.method, method->name);
    EXPECT_EQ(summary.params_digest.size(), 32u);
    if (method->name == "pretrained") {
      EXPECT_EQ(summary.local_steps, 0);
      continue;
    }
    EXPECT_GE(summary.local_steps, 200) << method->name;
    EXPECT_LT(summary.local_steps, 220) << method->name;
    EXPECT_EQ(summary.tokens, summary.local_steps * 2) << method->name;
    EXPECT_GT(summary.virtual_time_s, 0);
  }
}

TEST(Run, ThreadsNeverChangeABit) {
  const Recipe recipe = recipe_for("dn-dylu");
  RunEnvironment one = environment(), three = environment();
  three.threads = 3;
  const auto a = run(recipe, one), b = run(recipe, three), again = run(recipe, one);
  ASSERT_TRUE(a.ok() && b.ok() && again.ok());
  EXPECT_EQ(a->theta, b->theta);
  EXPECT_EQ(a->theta, again->theta);
  EXPECT_EQ(to_line(a->data.summary), to_line(b->data.summary));
}

TEST(Run, AnExtendedRunIsJudgedAtItsBudget) {
  const auto plain = run(recipe_for("dn-dylu"), environment());
  const auto extended = run(recipe_for("dn-dylu", {"train.extend=1.5"}), environment());
  ASSERT_TRUE(plain.ok() && extended.ok());
  EXPECT_EQ(plain->data.summary.params_digest, extended->data.summary.params_digest);
  EXPECT_EQ(plain->data.summary.val_loss_nats, extended->data.summary.val_loss_nats);
  EXPECT_EQ(plain->data.summary.arrivals, extended->data.summary.arrivals);
  EXPECT_GE(extended->data.log.evals.back().local_steps, 300);
}

TEST(Run, WritesTheWholeRunDirectory) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "runs/dn";
  const Recipe recipe = recipe_for("dn");
  const auto result = run(recipe, env);
  ASSERT_TRUE(result.ok()) << result.status();
  for (const char* name :
       {"recipe.toml", "metrics.jsonl", "events.jsonl", "summary.json", "report.html"}) {
    EXPECT_TRUE(files.exists(join_path(env.directory, name))) << name;
  }
  const auto stored = recipe_of_run(files, env.directory);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(*stored, recipe);
  const auto loaded = load_run(files, env.directory);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(to_line(loaded->summary), to_line(result->data.summary));
  EXPECT_EQ(loaded->log.updates.size(), result->data.log.updates.size());
  EXPECT_EQ(result->checkpoint, list_checkpoints(files, env.directory)->front());
}

// Interrupted again and again, and continued each time: the bits of one undisturbed run.
TEST(Run, ResumingGivesTheBitsOfAnUndisturbedRun) {
  for (const char* method : {"dn-dylu", "sync-diloco", "k-batch", "fedbuff", "async-adam"}) {
    const Recipe recipe = recipe_for(method, {"train.extend=1.2", "eval.every_local_steps=20"});
    MemoryFileSystem files;
    RunEnvironment whole = environment(), parts = environment();
    whole.files = parts.files = &files;
    whole.directory = "whole";
    parts.directory = "parts";
    const auto want = run(recipe, whole);
    ASSERT_TRUE(want.ok()) << method << ": " << want.status();
    int interruptions = 0;
    StatusOr<RunResult> got = absl::UnknownError("not run");
    for (bool interrupted = true; interrupted; parts.resume = true) {
      StopAfter stop(9);
      parts.clock = [&stop] { return stop(); };
      parts.stop = &stop.flag;
      got = run(recipe, parts);
      ASSERT_TRUE(got.ok()) << method << ": " << got.status();
      interrupted = got->interrupted;
      interruptions += interrupted ? 1 : 0;
      ASSERT_LT(interruptions, 200) << method << " makes no progress";
    }
    EXPECT_GE(interruptions, 2) << method;
    EXPECT_EQ(got->theta, want->theta) << method;
    EXPECT_EQ(to_line(got->data.summary), to_line(want->data.summary)) << method;
    EXPECT_EQ(*files.read_file("parts/metrics.jsonl"), *files.read_file("whole/metrics.jsonl"))
        << method;
  }
}

TEST(Run, ADirectoryThatHoldsARunIsNotOverwritten) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "r";
  ASSERT_TRUE(run(recipe_for("dn"), env).ok());
  EXPECT_EQ(
      run(recipe_for("dn"), env).status().message(),
      "[run] r: got a directory that holds a run, want a new one; --resume continues the run, "
      "--out names another");
}

TEST(Run, ADamagedCheckpointNamesTheOlderOneThatIsSound) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "r";
  ASSERT_TRUE(run(recipe_for("dn"), env).ok());
  const std::vector<std::string> checkpoints = *list_checkpoints(files, "r");
  ASSERT_GE(checkpoints.size(), 3u);
  files.corrupt(checkpoints[0] + "/model.safetensors", 300, 1);
  files.corrupt(checkpoints[1] + "/state.safetensors", 300, 1);
  env.resume = true;
  const Status damaged = run(recipe_for("dn"), env).status();
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
  EXPECT_THAT(std::string(damaged.message()),
              HasSubstr(cat("the file is damaged; ", checkpoints[2], " is older and sound")));
  ASSERT_TRUE(files.remove_tree(checkpoints[0]).ok() && files.remove_tree(checkpoints[1]).ok());
  EXPECT_TRUE(run(recipe_for("dn"), env).ok());
}

TEST(Run, AStartThatFailedIsInNobodysWay) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "r";
  const auto failed =
      run(recipe_for("dn", {"fleet.seconds_per_step=[1e6]", "train.local_steps=1000"}), env);
  ASSERT_TRUE(absl::IsInvalidArgument(failed.status())) << failed.status();
  ASSERT_TRUE(files.exists("r/metrics.jsonl"));
  EXPECT_TRUE(run(recipe_for("dn"), env).ok());
}

TEST(Run, ResumingUnderAnotherRecipeShowsTheDifference) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "r";
  ASSERT_TRUE(run(recipe_for("dn"), env).ok());
  env.resume = true;
  const auto changed = run(recipe_for("dn", {"lr.max=0.06"}), env);
  EXPECT_EQ(
      changed.status().message(),
      "[resume] r: got a recipe with lr.max 0.05 -> 0.06, pretrain.lr_max 0.05 -> 0.06, want the "
      "run's own; another --out starts anew");
  const Recipe recipe = recipe_for("dn");
  const auto built = build_workload(recipe, 1);
  const auto other_data = run_recipe(recipe, *built->workload, "other", env);
  EXPECT_THAT(std::string(other_data.status().message()),
              HasSubstr("[resume] r: got data of digest other, want "));
}

TEST(Run, ALossThatIsNotFiniteNamesTheLastCheckpoint) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "r";
  const Recipe recipe =
      recipe_for("async-sgd", {"outer.sgd.lr=100", "outer.weight.mode=inverse_k", "inner.kind=sgd",
                               "door.norm_action=off", "train.budget_local_steps=100000"});
  const auto result = run(recipe, env);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->diverged, HasSubstr(cat("last good checkpoint: ",
                                              list_checkpoints(files, env.directory)->front())));
  EXPECT_EQ(result->data.summary.failure, "diverged");
  EXPECT_TRUE(std::isnan(result->data.summary.val_loss_nats));
  const auto loaded = load_run(files, env.directory);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->summary.failure, "diverged");

  env.resume = true;
  const auto again = run(recipe, env);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->diverged, result->diverged);
  EXPECT_EQ(to_line(again->data.summary), to_line(result->data.summary));
}

TEST(Run, ADoorThatRefusesEverythingEndsTheRun) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "r";
  const Recipe recipe =
      recipe_for("dn", {"door.norm_action=reject", "door.norm_multiple=1", "door.norm_after=1",
                        "inner.kind=sgd", "lr.warmup_steps=50"});
  for (const bool resume : {false, true}) {
    env.resume = resume;
    const auto result = run(recipe, env);
    ASSERT_TRUE(absl::IsFailedPrecondition(result.status())) << result.status();
    const std::string message(result.status().message());
    EXPECT_THAT(message, HasSubstr("[door] got 1000 pseudo-gradients in a row that it refused"));
    EXPECT_THAT(message, HasSubstr("door.norm_action = clip or off"));
    EXPECT_THAT(message, HasSubstr("last good checkpoint: r/checkpoints/step-15"));
  }
}

TEST(Run, APretrainingTakenOverCountsTheStepsThatItMade) {
  MemoryFileSystem files;
  PretrainedByKey pretrained;
  RunEnvironment env = environment();
  env.pretrained = &pretrained;
  ASSERT_TRUE(run(recipe_for("pretrained"), env).ok());
  ASSERT_EQ(pretrained.size(), 1u);
  EXPECT_EQ(pretrained.begin()->second.steps, 15);
  pretrained.begin()->second.steps = 16;  // as a pretraining of whole tasks may overshoot
  env.files = &files;
  env.directory = "r";
  const auto result = run(recipe_for("dn"), env);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->checkpoint, checkpoint_path("r", 16 + result->data.summary.local_steps));
}

TEST(Run, EvaluationsThatAreTakenOverAreNotShownAgain) {
  PretrainedByKey pretrained;
  std::ostringstream shown;
  Nanos now = 0;  // so much between two looks that no evaluation is left out
  ProgressPrinter progress(shown, false, [&now] { return now += 60 * kNanosPerSecond; });
  RunEnvironment env = environment();
  env.pretrained = &pretrained;
  env.progress = &progress;
  ASSERT_TRUE(run(recipe_for("pretrained"), env).ok());
  const auto count = [&] {
    const std::string text = shown.str();
    int64_t evaluations = 0;
    for (size_t at = text.find("  eval  "); at != std::string::npos;
         at = text.find("  eval  ", at + 1)) {
      ++evaluations;
    }
    return evaluations;
  };
  const auto first = count();
  ASSERT_GT(first, 1);
  const auto second = run(recipe_for("pretrained"), env);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->data.log.evals.size(), pretrained.begin()->second.evals.size() + 1);
  EXPECT_EQ(count() - first, 1) << shown.str();  // its own evaluation
}

TEST(Run, AnotherBuildThatResumesIsNoted) {
  MemoryFileSystem files;
  std::ostringstream shown;
  ProgressPrinter progress(shown, false, [] { return Nanos{0}; });
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "r";
  ASSERT_TRUE(run(recipe_for("dn"), env).ok());
  env.resume = true;
  env.progress = &progress;
  ASSERT_TRUE(run(recipe_for("dn"), env).ok());
  EXPECT_EQ(shown.str().find("build"), std::string::npos) << shown.str();
  env.build_id = "other";
  const auto resumed = run(recipe_for("dn"), env);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  const char* note = "resumed by build other, begun by test";
  EXPECT_THAT(shown.str(), HasSubstr(note));
  EXPECT_THAT(resumed->data.log.events.back().text, HasSubstr(note));
  EXPECT_THAT(*files.read_file("r/events.jsonl"), HasSubstr(note));
}

TEST(Run, KBatchIsTheWorkOfAllItsWorkers) {
  const auto result = run(recipe_for("k-batch"), environment());
  ASSERT_TRUE(result.ok()) << result.status();
  const RunSummary& summary = result->data.summary;
  ASSERT_EQ(summary.per_worker.size(), 4u);
  int64_t steps = 0, tokens = 0;
  for (const WorkerTotals& worker : summary.per_worker) {
    EXPECT_EQ(worker.updates, summary.arrivals);
    EXPECT_EQ(worker.tokens, summary.tokens / 4);
    steps += worker.steps;
    tokens += worker.tokens;
  }
  EXPECT_EQ(steps, summary.local_steps);
  EXPECT_EQ(tokens, summary.tokens);
}

TEST(Run, TooLittleMemoryIsSaidBeforeTheStart) {
  RunEnvironment env = environment();
  env.available_memory_bytes = 1000;
  const auto result = run(recipe_for("dn", {"quadratic.dim=1000000"}), env);
  ASSERT_TRUE(absl::IsResourceExhausted(result.status()));
  EXPECT_THAT(std::string(result.status().message()),
              HasSubstr("for 1000000 parameters on 1 worker"));
}

// Records that are lost leave a hole, so no checkpoint may come after them: the run stops at once,
// and goes on from the last one before.
TEST(Run, ADiskThatIsFullForAMomentStopsTheRun) {
  const Recipe recipe =
      recipe_for("dn", {"train.budget_local_steps=4000", "checkpoint.every_local_steps=1000"});
  MemoryFileSystem files;
  RunEnvironment whole = environment(), parts = environment();
  whole.files = parts.files = &files;
  whole.directory = "whole";
  parts.directory = "parts";
  const auto want = run(recipe, whole);
  ASSERT_TRUE(want.ok()) << want.status();

  int readings = 0;  // of the clock; after a second records are written
  parts.clock = [&] {
    ++readings;
    if (readings == 50) files.fill_after(0);
    if (readings > 50) files.fill_after(std::numeric_limits<int64_t>::max());
    return readings == 50 ? kNanosPerSecond : Nanos{0};
  };
  const auto stopped = run(recipe, parts);
  ASSERT_TRUE(absl::IsResourceExhausted(stopped.status())) << stopped.status();
  EXPECT_THAT(std::string(stopped.status().message()),
              HasSubstr("choose another directory; last good checkpoint: parts/checkpoints/step-"));
  EXPECT_EQ(readings, 50);

  parts.resume = true;
  const auto got = run(recipe, parts);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->theta, want->theta);
  EXPECT_EQ(*files.read_file("parts/metrics.jsonl"), *files.read_file("whole/metrics.jsonl"));
}

TEST(Run, AFullDiskIsAnErrorAndKeepsTheOlderCheckpoints) {
  MemoryFileSystem files;
  RunEnvironment env = environment();
  env.files = &files;
  env.directory = "r";
  files.fill_after(60'000);
  const auto result = run(recipe_for("dn", {"train.budget_local_steps=20000"}), env);
  ASSERT_TRUE(absl::IsResourceExhausted(result.status())) << result.status();
  const auto checkpoints = list_checkpoints(files, env.directory);
  ASSERT_TRUE(checkpoints.ok());
  for (const std::string& path : *checkpoints) EXPECT_TRUE(open_checkpoint(files, path).ok());
}

}  // namespace
}  // namespace rubato
