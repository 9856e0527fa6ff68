#include "rubato/base/flat_ops.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "rubato/base/float_env.h"
#include "rubato/base/parallel.h"
#include "rubato/base/rng.h"

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

std::vector<float> normals(size_t size, uint64_t key) {
  Rng rng(5, RngStream::kTest, key);
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

bool same_bits(double x, double y) { return std::memcmp(&x, &y, sizeof x) == 0; }

RC_GTEST_PROP(NormAccumulator, HasTheBitsOfTheWholeWhateverTheCuts, ()) {
  const auto blocks = *rc::gen::inRange<size_t>(0, 4);
  const auto size = blocks * kBlockFloats + *rc::gen::inRange<size_t>(0, 2 * kBlockFloats);
  const std::vector<float> x = normals(size, *rc::gen::arbitrary<uint64_t>());
  NormAccumulator norm;
  for (size_t begin = 0; begin < size;) {
    const size_t most = *rc::gen::element<size_t>(1, 16, 40, 5000);
    const size_t piece = std::min(size - begin, *rc::gen::inRange<size_t>(0, most + 1));
    norm.add(std::span(x).subspan(begin, piece));
    begin += piece;
    RC_ASSERT(norm.count() == static_cast<int64_t>(begin));
    RC_ASSERT(same_bits(norm.norm(), l2_norm(std::span(x).first(begin))));
  }
  RC_ASSERT(norm.finite());
}

TEST(NormAccumulator, SeesWhatIsNotFiniteAnywhereAndRemembersIt) {
  constexpr size_t kSize = 4200;
  for (const float bad : {std::nanf(""), -std::numeric_limits<float>::infinity()}) {
    for (const size_t where : {size_t{0}, size_t{15}, size_t{17}, size_t{4095}, kSize - 1}) {
      std::vector<float> x(kSize, 1.0f);
      x[where] = bad;
      NormAccumulator norm;
      norm.add(std::span(x).first(7));
      EXPECT_EQ(norm.finite(), where >= 7);
      norm.add(std::span(x).subspan(7));
      norm.add(std::vector<float>(10, 1.0f));
      EXPECT_FALSE(norm.finite()) << where;
    }
  }
  std::vector<float> largest(5000, std::numeric_limits<float>::max());
  NormAccumulator norm;
  norm.add(largest);
  EXPECT_TRUE(norm.finite());
  EXPECT_EQ(norm.norm(), l2_norm(largest));
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
