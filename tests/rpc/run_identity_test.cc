// cluster.json: a directory holds one run for good.
#include "rubato/rpc/run_identity.h"

#include "tests/rpc/refusals.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using Code = absl::StatusCode;
constexpr char kFile[] = "/run/cluster.json";
const RunDigests kDigests{std::string(32, 'a'), std::string(32, 'b'), std::string(32, 'c')};

class RunIdentityTest : public testing::Test {
 protected:
  StatusOr<RunIdentity> open(const RunDigests& digests = kDigests) {
    return open_run_identity(files_, "/run", digests);
  }
  // The file with one value in place of another.
  void write_with(const char* key, const nlohmann::json& value) {
    nlohmann::json json = nlohmann::json::parse(*files_.read_file(kFile));
    json[key] = value;
    ASSERT_TRUE(files_.replace_file(kFile, json.dump()).ok());
  }
  MemoryFileSystem files_;
};

TEST_F(RunIdentityTest, IsDrawnOnceAndStays) {
  const auto first = open();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->run.size(), 32u);
  EXPECT_EQ(first->incarnation, 0);
  EXPECT_EQ(first->digests, kDigests);
  EXPECT_EQ(open()->run, first->run);
  EXPECT_EQ(first->journal_identity().run, first->run + ".0");
  EXPECT_NE(open_run_identity(files_, "/other", kDigests)->run, first->run);
}

TEST_F(RunIdentityTest, SurvivesACrash) {
  const std::string run = open()->run;
  files_.restart(CrashKeeps::kNothing);
  EXPECT_EQ(open()->run, run);
}

TEST_F(RunIdentityTest, ARollbackThatIsNotDoneComesBackAsItWasWritten) {
  RunIdentity identity = *open();
  identity.incarnation = 3;
  identity.rollback = PendingRollback{40, 9, 1'000, Version(4), {TaskId(7), TaskId(11)}};
  ASSERT_TRUE(write_run_identity(files_, "/run", identity).ok());
  EXPECT_EQ(open()->incarnation, 3);
  EXPECT_EQ(open()->rollback, identity.rollback);
  for (const char* key : {"step", "records", "now_ns", "version", "deltas"}) {
    for (const nlohmann::json& value :
         {nlohmann::json(-1), nlohmann::json("0"), nlohmann::json()}) {
      ASSERT_TRUE(write_run_identity(files_, "/run", identity).ok());
      nlohmann::json rollback = nlohmann::json::parse(*files_.read_file(kFile))["rollback"];
      rollback[key] = value;
      write_with("rollback", rollback);
      expect_refusal(open().status(), Code::kDataLoss, "got a rollback that is none");
    }
  }
}

TEST_F(RunIdentityTest, RefusesAnotherRunsRecipeDataOrModel) {
  ASSERT_TRUE(open().ok());
  const std::string other(32, 'f');
  const std::pair<RunDigests, const char*> wrongs[] = {
      {{other, kDigests.data, kDigests.layout}, "got a recipe of digest ffff"},
      {{kDigests.recipe, other, kDigests.layout}, "got a data set of digest ffff"},
      {{kDigests.recipe, kDigests.data, other}, "got a model of digest ffff"}};
  for (const auto& [digests, words] : wrongs)
    expect_refusal(open(digests).status(), Code::kFailedPrecondition, words);
}

TEST_F(RunIdentityTest, RefusesAFileThatNobodyWrote) {
  ASSERT_TRUE(open().ok());
  const std::string good = *files_.read_file(kFile);
  for (const std::string& text : {std::string(), std::string("[]"), std::string("7"),
                                  good.substr(0, good.size() / 2), std::string(100'000, '[')}) {
    ASSERT_TRUE(files_.replace_file(kFile, text).ok());
    expect_refusal(open().status(), Code::kDataLoss, "[cluster] /run/cluster.json: got ");
  }
}

TEST_F(RunIdentityTest, RefusesEachValueThatCannotBe) {
  ASSERT_TRUE(open().ok());
  const std::string good = *files_.read_file(kFile);
  const std::pair<const char*, nlohmann::json> wrongs[] = {
      {"format_version", 2},       {"format_version", "1"},
      {"format_version", nullptr}, {"run", 5},
      {"run", "../../etc"},        {"run", std::string(32, 'A')},
      {"incarnation", -1},         {"incarnation", 1.5},
      {"incarnation", "0"},        {"incarnation", uint64_t{1} << 63},
      {"recipe_digest", nullptr},  {"data_digest", {1}},
      {"layout_digest", false}};
  for (const auto& [key, value] : wrongs) {
    SCOPED_TRACE(cat(key, " ", value.dump()));
    ASSERT_TRUE(files_.replace_file(kFile, good).ok());
    write_with(key, value);
    expect_refusal(open().status(), Code::kDataLoss, "[cluster] /run/cluster.json");
  }
}

TEST_F(RunIdentityTest, QuotesADigestOfTwoLinesInOne) {
  ASSERT_TRUE(open().ok());
  write_with("recipe_digest", "two\nlines");
  expect_refusal(open().status(), Code::kFailedPrecondition, "two?lines");
}

}  // namespace
}  // namespace rubato
