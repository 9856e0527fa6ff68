// The evidence's runner on a quadratic: it goes on wherever it was stopped, computes nothing twice
// and nothing wrongly once, and its pages follow from the rows alone.
#include "rubato/app/evidence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/app/evidence_check.h"
#include "rubato/app/evidence_render.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

Experiment experiment() {
  Experiment e;
  e.name = "tiny";
  e.title = "Tiny";
  e.base = std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml";
  e.seeds = {1, 2};
  e.figures = {"tokens", "clock"};
  e.cells = {{"very", "very", {}},
             {"none", "none", {"fleet.seconds_per_step=[0.995, 0.995, 0.995, 0.995]"}}};
  e.rows = {{"pretrained", "pretrained", "pretrained", {}, false, {}, {}},
            {"sync-diloco", "sync-diloco", "sync-diloco", {}, false, {}, {41.35, 41.35}},
            {"dn-dylu", "dn-dylu", "dn-dylu", {}, false, {}, {41.13, 41.27}},
            {"k-batch", "k-batch", "k-batch", {}, false, {}, {}}};
  return e;
}

std::vector<PlannedRun> planned_runs(const Experiment& e) {
  auto plan = plan_experiment(e, {});
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *std::move(plan);
}

class EvidenceTest : public ::testing::Test {
 protected:
  EvidenceBook book() {
    auto book = EvidenceBook::open(files_, "out/rows");
    EXPECT_TRUE(book.ok()) << book.status();
    return *std::move(book);
  }

  EvidenceWork work() {
    EvidenceWork work;
    work.environment.files = &files_;
    work.environment.directory = "runs";
    work.environment.build_id = build_;
    work.environment.clock = [this] { return now_ += kNanosPerSecond / 1000; };
    work.environment.stop = &stop_;
    work.processor = "a processor";
    work.today = [] { return std::string("2026-11-25"); };
    work.say = [this](std::string_view line) { said_.emplace_back(line); };
    return work;
  }

  // Until `rows` rows were made by this call; -1: to the end.
  StatusOr<bool> run(const Experiment& e, int rows = -1) {
    said_.clear();
    EvidenceBook rows_book = book();
    EvidenceRunner runner(work(), rows_book);
    stop_ = rows == 0;
    const auto finished = runner.run(e, {}, [&]() -> Status {
      stop_ = --rows == 0;
      return absl::OkStatus();
    });
    stop_ = false;
    return finished;
  }

  std::vector<std::string> digests(const Experiment& e) {
    std::vector<std::string> digests;
    const EvidenceBook rows_book = book();
    for (const PlannedRun& run : planned_runs(e)) {
      const auto row = rows_book.find(run);
      digests.push_back(row ? row->summary.params_digest : "missing");
    }
    return digests;
  }

  std::string page(const Experiment& e) {
    const auto files = render_experiment(e, {}, book());
    EXPECT_TRUE(files.ok()) << files.status();
    return files->front().text;
  }

  MemoryFileSystem files_;
  std::atomic<bool> stop_{false};
  std::string build_ = "build-1";
  Nanos now_ = 0;
  std::vector<std::string> said_;
};

TEST_F(EvidenceTest, MakesEachRowOnceSeedBySeedAndLeavesNoRunBehind) {
  ASSERT_TRUE(*run(experiment()));
  const EvidenceBook rows = book();
  // Pretrained, k-batch and sync-diloco lose the same under both fleets.
  ASSERT_EQ(rows.rows().size(), 2 * (4 + 1));
  EXPECT_EQ(rows.rows()[4].summary.seed, 1u);
  EXPECT_EQ(rows.rows()[5].summary.seed, 2u);
  EXPECT_EQ(rows.rows()[1].outer_rounds, 40);
  EXPECT_TRUE(rows.rows()[2].summary.time_to_sync_loss_s.has_value());
  EXPECT_TRUE(files_.list("runs")->empty());
  EXPECT_THAT(said_.front(), HasSubstr("10 runs"));
  EXPECT_THAT(said_.front(), HasSubstr("tokens/s"));

  ASSERT_TRUE(*run(experiment()));
  EXPECT_EQ(book().rows().size(), 10u);
  EXPECT_THAT(said_.front(), HasSubstr("all 16 rows are there"));
}

TEST_F(EvidenceTest, StoppedAnywhereItComesToTheSameBits) {
  ASSERT_TRUE(*run(experiment()));
  const std::vector<std::string> undisturbed = digests(experiment());
  EXPECT_THAT(undisturbed, Each(Not("missing")));
  files_.remove_tree("out").IgnoreError();
  int calls = 0;
  for (; calls < 100; ++calls) {
    const auto finished = run(experiment(), 1);
    ASSERT_TRUE(finished.ok()) << finished.status();
    if (*finished) break;
  }
  EXPECT_GE(calls, 9);
  EXPECT_EQ(digests(experiment()), undisturbed);
}

TEST_F(EvidenceTest, ARunThatAnotherBuildBeganStartsAgain) {
  Experiment e = experiment();
  e.rows = {e.rows[2]};
  ASSERT_TRUE(files_.make_directories("runs/tiny-very-dn-dylu-seed-1-00000000").ok());
  ASSERT_TRUE(*run(e));
  EXPECT_THAT(said_, ::testing::Contains(HasSubstr("starts again: build, recipe or data changed")));
  EXPECT_TRUE(files_.list("runs")->empty());
}

TEST_F(EvidenceTest, ATornRowIsMadeAgain) {
  ASSERT_TRUE(*run(experiment()));
  const std::vector<std::string> whole = digests(experiment());
  const std::string path = "out/rows/tiny.jsonl";
  const std::string text = *files_.read_file(path);
  ASSERT_TRUE(files_.replace_file(path, text.substr(0, text.size() - 100)).ok());
  EXPECT_EQ(book().rows().size(), 9u);
  ASSERT_TRUE(*run(experiment()));
  EXPECT_EQ(digests(experiment()), whole);
  EXPECT_EQ(book().rows().size(), 10u);
}

// The equality by which sync-diloco and k-batch are computed once: same bits, and the clock that
// the simulator would have shown.
TEST_F(EvidenceTest, SpeedsOnlySetTheClockOfWhoeverWaitsForTheSlowest) {
  ASSERT_TRUE(*run(experiment()));
  const EvidenceBook rows = book();
  EvidenceBook nothing = *EvidenceBook::open(files_, "elsewhere");
  EvidenceRunner runner(work(), nothing);
  int borrowed = 0;
  for (const PlannedRun& planned : planned_runs(experiment())) {
    const auto row = rows.find(planned);
    ASSERT_TRUE(row);
    if (planned.cell == 0 || !speeds_only_set_the_clock(planned.recipe)) continue;
    ++borrowed;
    EXPECT_NE(row->summary.recipe_digest, planned.recipe.digest());
    const auto own = runner.run_again(planned.recipe);
    ASSERT_TRUE(own.ok()) << own.status();
    const RunSummary& summary = own->data.summary;
    EXPECT_EQ(row->summary.params_digest, summary.params_digest) << summary.method;
    EXPECT_EQ(row->summary.val_loss_nats, summary.val_loss_nats);
    EXPECT_EQ(row->summary.virtual_time_s, summary.virtual_time_s);
    EXPECT_NEAR(row->summary.utilisation, summary.utilisation, 0.03);
    size_t i = 0;
    for (const EvalRecord& eval : own->data.log.evals) {
      if (eval.phase != RunPhase::kTrain) continue;
      EXPECT_EQ(row->curve_time_s[i], to_seconds(eval.virtual_time_ns));
      EXPECT_EQ(row->curve_loss_nats[i++], eval.loss_nats);
    }
  }
  EXPECT_EQ(borrowed, 6);  // pretrained, sync-diloco, k-batch; two seeds
}

TEST_F(EvidenceTest, SpeedsOfAnyoneElseDecideTheLosses) {
  for (const PlannedRun& planned : planned_runs(experiment())) {
    const bool asynchronous = planned.recipe.text("run.method") == "dn-dylu";
    EXPECT_EQ(speeds_only_set_the_clock(planned.recipe), !asynchronous);
    EXPECT_EQ(planned.losses_digest == planned.recipe.digest(), asynchronous);
    // Arrivals in another order are summed in another order.
    const auto unsorted = planned.recipe.with("fleet.seconds_per_step",
                                              std::vector<double>{1.0, 2.0, 1.5, 3.0}, "test");
    const bool sums = planned.recipe.text("run.method") == "sync-diloco";
    EXPECT_EQ(speeds_only_set_the_clock(*unsorted), !asynchronous && !sums);
    const auto linked = planned.recipe.with("fleet.latency_s", std::vector<double>{0.1}, "test");
    EXPECT_FALSE(speeds_only_set_the_clock(*linked));
  }
}

TEST_F(EvidenceTest, ThePageFollowsFromTheRowsAlone) {
  ASSERT_TRUE(*run(experiment()));
  const std::string first = page(experiment());
  now_ += 1'000'000 * kNanosPerSecond;
  build_ = "build-2";
  EXPECT_EQ(page(experiment()), first);
  EXPECT_THAT(first, HasSubstr("All 16 rows are there"));
  EXPECT_THAT(first, HasSubstr("on a processor"));
  EXPECT_THAT(first, HasSubstr("2026-11-25"));
  EXPECT_THAT(first, HasSubstr("./run evidence tiny"));
  EXPECT_THAT(first, HasSubstr("| 0.995 |"));  // the paper's 41.13 / 41.35
  const auto files = render_experiment(experiment(), {}, book());
  ASSERT_EQ(files->size(), 5u);
  EXPECT_EQ((*files)[1].name, "tiny-very-tokens.svg");
  EXPECT_THAT((*files)[1].text, HasSubstr("xmlns=\"http://www.w3.org/2000/svg\""));
}

TEST_F(EvidenceTest, ThePageSaysWhatIsMissing) {
  EXPECT_THAT(page(experiment()), HasSubstr("No row is there yet"));
  ASSERT_FALSE(*run(experiment(), 6));  // one seed, and of the second the pretrained model
  const std::string text = page(experiment());
  EXPECT_THAT(text, HasSubstr("of 16 rows are still missing"));
  EXPECT_THAT(text, HasSubstr("1 of 2 seeds"));
}

TEST_F(EvidenceTest, FewerThanThirtyRoundsAreNotPublished) {
  Experiment e = experiment();
  e.cells = {{"short", "short", {"train.budget_local_steps=800"}}};
  ASSERT_TRUE(*run(e));
  const std::string text = page(e);
  EXPECT_THAT(text, HasSubstr("| dn-dylu | (20 rounds, too few to publish) |"));
  EXPECT_THAT(text, HasSubstr("| pretrained | "));
}

TEST_F(EvidenceTest, ACheckFindsARowThatDoesNotComeOutAgain) {
  ASSERT_TRUE(*run(experiment()));
  EvidenceBook rows = book();
  EvidenceRunner runner(work(), rows);
  auto checkable = checkable_rows(experiment(), {}, rows);
  ASSERT_TRUE(checkable.ok()) << checkable.status();
  ASSERT_EQ(checkable->size(), 10u);  // borrowed ones are checked where they were made
  for (const CheckableRow& row : *checkable) {
    const auto same = check_row(row, "a processor", runner);
    EXPECT_TRUE(same.ok()) << same.status();
  }
  CheckableRow bad = checkable->back();
  bad.row.summary.params_digest = "other";
  EXPECT_TRUE(absl::IsDataLoss(check_row(bad, "a processor", runner).status()));
  const auto elsewhere = check_row(bad, "another processor", runner);
  ASSERT_TRUE(elsewhere.ok()) << elsewhere.status();
  EXPECT_THAT(*elsewhere, HasSubstr("the loss differs by 0 nats"));
  bad.row.summary.val_loss_nats += 1;
  EXPECT_TRUE(absl::IsDataLoss(check_row(bad, "another processor", runner).status()));
}

TEST(EvidenceCheck, ARowIsChosenByNumberOrHash) {
  EXPECT_EQ(*choose_row("3", 10), 3u);
  EXPECT_EQ(*choose_row("fe9aa45", 10), 0xfe9aa45u % 10);
  EXPECT_EQ(*choose_row("fe9aa45fe9aa45fe9aa45fe9aa45fe9aa45fe9aa", 7), 0xfe9aa45fe9aa45fu % 7);
  EXPECT_TRUE(absl::IsInvalidArgument(choose_row("10", 10).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(choose_row("main", 10).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(choose_row("not-a-hash", 10).status()));
  EXPECT_TRUE(absl::IsNotFound(choose_row("0", 0).status()));
}

}  // namespace
}  // namespace rubato
