// The index says what a look at every row would say.
#include "rubato/coordinator/worker_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/rng.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

TEST(WorkerIndex, IsWhatEveryRowSays) {
  Rng rng(1, RngStream::kTest);
  const auto below = [&](uint64_t bound) { return static_cast<int64_t>(rng.below(bound)); };
  std::map<WorkerId, WorkerIndex::Row> rows;
  WorkerIndex index;
  for (int i = 0; i < 5000; ++i) {
    const WorkerId worker(below(9));
    WorkerIndex::Row row{.waits = below(2) == 0};
    if (below(3) > 0) row.expected = below(6);  // of several workers often the same
    if (below(3) > 0) row.reference = below(6);
    rows[worker] = row;
    index.set(worker, row);
    std::vector<WorkerId> waiting;
    std::vector<Nanos> expected;
    std::vector<WorkerIndex::Reference> references;
    for (const auto& [id, known] : rows) {
      if (known.waits) waiting.push_back(id);
      if (known.expected) expected.push_back(*known.expected);
      if (known.reference) references.emplace_back(*known.reference, id);
    }
    std::ranges::sort(expected);
    std::ranges::sort(references);
    ASSERT_THAT(index.waiting(), ElementsAreArray(waiting));
    ASSERT_THAT(index.expected(), ElementsAreArray(expected));
    ASSERT_THAT(index.references(), ElementsAreArray(references));
  }
}

TEST(WorkerIndex, BeginsAnew) {
  WorkerIndex index;
  index.set(WorkerId(1), {.waits = true, .expected = 3, .reference = 4});
  index.clear();
  EXPECT_TRUE(index.waiting().empty() && index.expected().empty() && index.references().empty());
  index.set(WorkerId(1), {.waits = true});
  EXPECT_THAT(index.waiting(), ElementsAre(WorkerId(1)));
}

}  // namespace
}  // namespace rubato
