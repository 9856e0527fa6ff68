// Answers to orders: all are waited for, the first error by rank is told.
#include "rubato/island/orders.h"

#include "tests/island/thread_link.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(Answers, TheLowestRanksErrorIsTold) {
  ThreadIsland::run(
      4,
      [](IslandLink& link) {
        const Status first = gather_answers(link, absl::OkStatus());
        EXPECT_EQ(first.code(), absl::StatusCode::kResourceExhausted);
        EXPECT_EQ(first.message(), "rank 2 of the island: [test] rank 2 is full");
        const Status own = gather_answers(link, absl::InternalError("[test] mine"));
        EXPECT_EQ(own.message(), "[test] mine");
        EXPECT_TRUE(gather_answers(link, absl::OkStatus()).ok());
      },
      [](IslandLink& link) {
        const Status full =
            absl::ResourceExhaustedError(cat("[test] rank ", link.rank(), " is full"));
        send_answer(link, link.rank() >= 2 ? full : absl::OkStatus());
        send_answer(link, full);
        send_answer(link, absl::OkStatus());
      });
}

}  // namespace
}  // namespace rubato
