#include "rubato/base/flat_ops.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "rubato/base/float_env.h"
#include "rubato/base/parallel.h"

namespace rubato {
namespace {

TEST(FlatOps, DotCountsEveryElementOnce) {
  for (size_t size :
       {size_t{0}, size_t{1}, size_t{17}, size_t{4096}, size_t{4097}, size_t{10'000}}) {
    const std::vector<float> x(size, 0.5f), y(size, 2.0f);
    EXPECT_EQ(dot(x, y), static_cast<double>(size)) << size;
  }
}

TEST(FlatOps, FiniteSeesNanAndInfinityAnywhere) {
  std::vector<float> x(1000, 1.0f);
  EXPECT_TRUE(all_finite(x));
  x[999] = std::nanf("");
  EXPECT_FALSE(all_finite(x));
  x[999] = -std::numeric_limits<float>::infinity();
  EXPECT_FALSE(all_finite(x));
}

TEST(ThreadPool, EveryPieceRunsOnceAndEveryThreadFlushesDenormals) {
  ThreadPool pool(3);
  std::vector<int> runs(1000);
  std::atomic<int> unflushed{0};
  pool.for_each(1000, [&](int64_t i) {
    ++runs[static_cast<size_t>(i)];
    if (!denormals_are_flushed()) ++unflushed;
  });
  EXPECT_EQ(std::count(runs.begin(), runs.end(), 1), 1000);
  EXPECT_EQ(unflushed, 0);
}

}  // namespace
}  // namespace rubato
