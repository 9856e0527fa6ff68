// Runs of a directory, found and followed.
#include "rubato/web/run_gallery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/metrics/run_data.h"
#include "rubato/metrics/sink.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;

class RunGalleryTest : public ::testing::Test {
 protected:
  JsonlSink begin(const std::string& name) {
    EXPECT_TRUE(files_.make_directories("runs/" + name).ok());
    return *JsonlSink::open(files_, "runs/" + name);
  }
  static void evaluate(JsonlSink& sink, int64_t steps, double loss_nats) {
    EvalRecord record;
    record.method = "dn-dylu";
    record.local_steps = steps;
    record.loss_nats = loss_nats;
    sink.on_eval(record);
  }
  static void look_at_all(RunGallery& gallery) {
    for (int i = 0; i < 20; ++i) gallery.look();
  }
  MemoryFileSystem files_;
};

TEST_F(RunGalleryTest, ARunIsShownWithItsSiblingsAndOthersAreNot) {
  JsonlSink first = begin("first"), second = begin("second");
  evaluate(first, 10, 3.0);
  evaluate(second, 20, 2.0);
  ASSERT_TRUE(files_.make_directories("runs/something-else").ok());
  const GalleryConfig config = gallery_of(files_, "runs/second");
  EXPECT_EQ(config.directory, "runs");
  EXPECT_EQ(config.focus, "second");
  RunGallery gallery(files_, config);
  look_at_all(gallery);
  const ordered_json list = gallery.list();
  ASSERT_EQ(list["runs"].size(), 2u);
  const ordered_json& focus = list["runs"][list["focus"].get<size_t>()];
  EXPECT_EQ(focus["name"], "second");
  EXPECT_EQ(focus["method"], "dn-dylu");
  EXPECT_EQ(focus["loss_nats"], 2.0);
  EXPECT_EQ(focus["finished"], false);
}

TEST_F(RunGalleryTest, AQuestionGetsWhatIsNewSinceTheLast) {
  JsonlSink sink = begin("a");
  evaluate(sink, 10, 3.0);
  RunGallery gallery(files_, gallery_of(files_, "runs"));
  look_at_all(gallery);
  const auto first = gallery.changes(0, 0, 0, false);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ((*first)["records"], 1);
  EXPECT_EQ((*first)["evals"]["rows"].size(), 1u);
  EXPECT_TRUE(first->contains("lanes"));
  evaluate(sink, 20, 2.5);
  look_at_all(gallery);
  const auto next = gallery.changes(0, 0, 1, true);
  ASSERT_EQ((*next)["evals"]["rows"].size(), 1u);
  EXPECT_EQ((*next)["evals"]["rows"][0][2], 20);
  EXPECT_FALSE(next->contains("lanes"));
}

TEST_F(RunGalleryTest, ARunThatWasCutBackIsToldWholeAgain) {
  JsonlSink sink = begin("a");
  evaluate(sink, 10, 3.0);
  const JsonlOffset before = *sink.offset();
  evaluate(sink, 20, 2.5);
  RunGallery gallery(files_, gallery_of(files_, "runs"));
  look_at_all(gallery);
  ASSERT_TRUE(sink.truncate_to(before).ok());
  look_at_all(gallery);
  const auto answer = gallery.changes(0, 0, 2, true);
  EXPECT_EQ((*answer)["epoch"], 1);
  EXPECT_EQ((*answer)["since"], 0);
  EXPECT_EQ((*answer)["evals"]["rows"].size(), 1u);
}

TEST_F(RunGalleryTest, ASummaryMeansThatARunIsOver) {
  JsonlSink sink = begin("a");
  evaluate(sink, 10, 3.0);
  RunGallery gallery(files_, gallery_of(files_, "runs"));
  look_at_all(gallery);
  EXPECT_EQ(gallery.list()["runs"][0]["finished"], false);
  RunSummary summary;
  summary.method = "sync-diloco";
  summary.val_loss_nats = 2.25;
  ASSERT_TRUE(write_summary(files_, "runs/a", summary).ok());
  look_at_all(gallery);
  EXPECT_EQ(gallery.list()["runs"][0]["finished"], true);
  EXPECT_EQ(gallery.list()["runs"][0]["loss_nats"], 2.25);
  ASSERT_TRUE(files_.remove_file("runs/a/summary.json").ok());  // resumed
  look_at_all(gallery);
  EXPECT_EQ(gallery.list()["runs"][0]["finished"], false);
}

TEST_F(RunGalleryTest, WaitsForARunThatHasNotBegun) {
  RunGallery gallery(files_, {"runs", "to-come", true});
  look_at_all(gallery);
  EXPECT_EQ(gallery.list()["runs"][0]["name"], "to-come");
  EXPECT_EQ(gallery.list()["runs"][0]["records"], 0);
  JsonlSink sink = begin("to-come");
  evaluate(sink, 10, 3.0);
  look_at_all(gallery);
  EXPECT_EQ(gallery.list()["runs"].size(), 1u);
  EXPECT_EQ(gallery.list()["runs"][0]["records"], 1);
}

TEST_F(RunGalleryTest, ADamagedRunSaysSoAndIsInNobodysWay) {
  JsonlSink good = begin("good");
  evaluate(good, 10, 3.0);
  begin("bad");
  ASSERT_TRUE(files_.replace_file("runs/bad/metrics.jsonl", "<b>\n").ok());
  RunGallery gallery(files_, gallery_of(files_, "runs"));
  look_at_all(gallery);
  const ordered_json list = gallery.list();
  EXPECT_THAT(list["runs"][0]["error"].get<std::string>(), HasSubstr("got no JSON object"));
  EXPECT_EQ(list["runs"][1]["records"], 1);
}

TEST_F(RunGalleryTest, OfVeryManyRunsSomeAreLeftOutAndCounted) {
  for (int i = 0; i < 30; ++i) begin(cat("run-", i));
  RunGallery gallery(files_, {"runs", "run-9", true});
  look_at_all(gallery);
  EXPECT_EQ(gallery.list()["runs"].size(), RunGallery::kMostRuns);
  EXPECT_EQ(gallery.list()["left_out"], 6);
  EXPECT_EQ(gallery.list()["runs"][0]["name"], "run-9");
}

TEST_F(RunGalleryTest, ARunAloneIsShownWithoutItsSiblings) {
  begin("a");
  begin("b");
  RunGallery gallery(files_, {"runs", "b", false});
  look_at_all(gallery);
  ASSERT_EQ(gallery.list()["runs"].size(), 1u);
  EXPECT_EQ(gallery.list()["runs"][0]["name"], "b");
}

TEST_F(RunGalleryTest, HandsOutARecipeAndNothingOfWhatDoesNotExist) {
  begin("a");
  ASSERT_TRUE(files_.replace_file("runs/a/recipe.toml", "[run]\nseed = 1\n").ok());
  RunGallery gallery(files_, gallery_of(files_, "runs"));
  look_at_all(gallery);
  EXPECT_EQ(gallery.recipe(0), "[run]\nseed = 1\n");
  for (const int64_t id : {-1, 1, 1000}) {
    EXPECT_FALSE(gallery.recipe(id).has_value());
    EXPECT_FALSE(gallery.changes(id, 0, 0, false).has_value());
  }
}

}  // namespace
}  // namespace rubato
