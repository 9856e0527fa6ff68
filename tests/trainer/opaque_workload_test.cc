#include "rubato/trainer/opaque_workload.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(OpaqueWorkload, KnowsSizesAndNothingElse) {
  const InnerEntry* entry = *find_entry<InnerEntry>("test", "inner", inner_entries(), "sgd");
  std::shared_ptr<const InnerOptimizer> optimizer =
      std::move(*entry->make(*Options::resolve("sgd", entry->options, {})));
  Layout layout;
  layout.add("w", {3, 2}, TensorRole::kMatrix);
  const OpaqueWorkload workload({.shards = 2, .sequences_per_shard = 7, .tokens_per_sequence = 5},
                                layout, optimizer);
  EXPECT_EQ(workload.layout().describe(), layout.describe());
  EXPECT_EQ(workload.shard_sequences(), (std::vector<int64_t>{7, 7}));
  EXPECT_EQ(workload.tokens_per_sequence(), 5);
  EXPECT_TRUE(absl::IsUnimplemented(workload.make_trainer(1, 1).status()));
  EXPECT_TRUE(absl::IsUnimplemented(workload.evaluate({}, 1).status()));
  std::vector<float> params(6);
  EXPECT_DEATH(workload.initialise(1, params), "first worker");
}

}  // namespace
}  // namespace rubato
