// The link over MPI, by real processes under mpirun.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/island/mpirun.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/island/mpi_loader.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

#if defined(RUBATO_ISLAND_ACTOR)

struct Ended {
  int code = 0;
  std::string text;
};

Ended play(const std::string& scene, int ranks) {
  const TemporaryDirectory directory;
  const std::string output = directory.path() + "/output.txt";
  const std::string command = cat("timeout 120 ", join(mpirun(ranks), " "), " ",
                                  RUBATO_ISLAND_ACTOR, " ", scene, " > ", output, " 2>&1");
  const int code = std::system(command.c_str());
  std::stringstream text;
  text << std::ifstream(output).rdbuf();
  return {WIFEXITED(code) ? WEXITSTATUS(code) : -1, text.str()};
}

class MpiLink : public ::testing::TestWithParam<int> {};

TEST_P(MpiLink, CarriesMessagesLongerThanACallTakes) {
  const Ended ended = play("bytes", GetParam());
  EXPECT_EQ(ended.code, 0) << ended.text;
}

TEST_P(MpiLink, AddsUp) {
  const Ended ended = play("sum", GetParam());
  EXPECT_EQ(ended.code, 0) << ended.text;
}

TEST_P(MpiLink, TrainsAsOneProcessDoes) {
  const Ended ended = play("train", GetParam());
  EXPECT_EQ(ended.code, 0) << ended.text;
}

INSTANTIATE_TEST_SUITE_P(Ranks, MpiLink, testing::Values(2, 3));

TEST(MpiLinkFailure, ARankThatRunsOutOfMemoryEndsAllWithALine) {
  const Ended ended = play("throw", 2);
  EXPECT_NE(ended.code, 0);
  EXPECT_NE(ended.code, 124) << "somebody waits for ever";
  EXPECT_THAT(ended.text, HasSubstr("[island] rank 1 of 2: memory or threads ran out; the island"));
}

#else

TEST(MpiLink, IsBuilt) { GTEST_SKIP() << "this build has no MPI; install libopenmpi-dev"; }

#endif

TEST(MpiLoader, SaysWhichModuleItWants) {
  const auto link = load_mpi_link("librubato_no_such_module.so", [](std::string_view) {});
  EXPECT_TRUE(absl::IsFailedPrecondition(link.status()));
  EXPECT_THAT(std::string(link.status().message()), HasSubstr("it is built where libopenmpi-dev"));
}

}  // namespace
}  // namespace rubato
