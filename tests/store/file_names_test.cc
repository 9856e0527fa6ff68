#include "rubato/store/file_names.h"

#include <limits>

#include <gtest/gtest.h>

#include "rubato/store/file_system.h"

namespace rubato {
namespace {

constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();

TEST(FileNames, AreReadBack) {
  for (const int64_t number : {int64_t{0}, int64_t{7}, int64_t{1'000'000'000'000}, kLargest}) {
    const TaskId task(number);
    EXPECT_EQ(journal_segment_index(base_name(journal_segment_path("run", number))), number);
    EXPECT_EQ(spool_part_task(base_name(spool_part_path("run", task))), number);
    EXPECT_EQ(spool_delta_task(base_name(spool_delta_path("run", task))), number);
    EXPECT_EQ(spool_delta_task(base_name(kept_delta_path("run", task))), number);
    EXPECT_EQ(version_of_name(base_name(version_path("run", Version(number)))), number);
  }
}

TEST(FileNames, SegmentsStandInOrder) {
  EXPECT_EQ(journal_segment_path("run", 42), "run/journal/segment-000000000042");
  EXPECT_LT(journal_segment_path("run", 99), journal_segment_path("run", 100));
}

TEST(FileNames, OthersAreNone) {
  for (const char* name :
       {"", "segment-", "segment-1", "segment-0000000000042", "segment--00000000001",
        "segment-00000000001x", "segment-000000000042.tmp"})
    EXPECT_EQ(journal_segment_index(name), -1) << name;
  for (const char* name : {"task-.part", "task-1", "task-1.delta", "task-01.part", "task--1.part",
                           "task-1.part.tmp", "task-9223372036854775808.part", "part"})
    EXPECT_EQ(spool_part_task(name), -1) << name;
  for (const char* name : {"v-", "v-+1", "v-1.tmp", "v- 1", "1"})
    EXPECT_EQ(version_of_name(name), -1) << name;
}

}  // namespace
}  // namespace rubato
