#include "rubato/web/time_grid.h"

#include <limits>
#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato {
namespace {

struct Sum {
  int64_t value = 0;
  void add(const Sum& other) { value += other.value; }
};

std::vector<int64_t> sums(const TimeGrid<Sum>& grid) {
  std::vector<int64_t> all;
  grid.changed_since(-1, [&](size_t, const Sum& sum) { all.push_back(sum.value); });
  return all;
}

TEST(TimeGrid, WidensAsTimeGoesOn) {
  TimeGrid<Sum> grid(4);
  const Nanos width = grid.width();
  for (int64_t i = 0; i < 4; ++i) grid.add(i * width, {i + 1}, i + 1);
  EXPECT_EQ(sums(grid), (std::vector<int64_t>{1, 2, 3, 4}));
  grid.add(4 * width, {5}, 5);
  EXPECT_EQ(grid.width(), 2 * width);
  EXPECT_EQ(sums(grid), (std::vector<int64_t>{3, 7, 5}));
  grid.add(100 * width, {1}, 6);
  EXPECT_EQ(sums(grid).front(), 15);
  EXPECT_EQ(grid.size(), 4u);
}

RC_GTEST_PROP(TimeGrid, AStretchIsSharedOutWhole, ()) {
  TimeGrid<Sum> grid(8);
  int64_t total = 0, moment = 0;
  const auto spans = *rc::gen::container<std::vector<std::pair<uint32_t, uint32_t>>>(
      rc::gen::arbitrary<std::pair<uint32_t, uint32_t>>());
  for (const auto& [begin, length] : spans) {
    grid.spread(
        begin, int64_t{begin} + length, [](Nanos part) { return Sum{part}; }, ++moment);
    total += length;
  }
  const std::vector<int64_t> all = sums(grid);
  RC_ASSERT(std::accumulate(all.begin(), all.end(), int64_t{0}) == total);
  RC_ASSERT(grid.size() <= 8u);
  for (const int64_t value : all)
    RC_ASSERT(value <= grid.width() * static_cast<int64_t>(spans.size()));
}

TEST(TimeGrid, TellsOnlyWhatChanged) {
  TimeGrid<Sum> grid(8);
  grid.add(0, {1}, 1);
  grid.add(3 * grid.width(), {1}, 2);
  std::vector<size_t> changed;
  grid.changed_since(1, [&](size_t cell, const Sum&) { changed.push_back(cell); });
  EXPECT_EQ(changed, std::vector<size_t>{3});
}

TEST(TimeGrid, DamagedTimesStayInIt) {
  TimeGrid<Sum> grid(4);
  const auto one = [](Nanos) { return Sum{1}; };
  grid.spread(std::numeric_limits<Nanos>::min(), std::numeric_limits<Nanos>::max(), one, 1);
  grid.spread(std::numeric_limits<Nanos>::max(), std::numeric_limits<Nanos>::min(), one, 2);
  grid.add(std::numeric_limits<Nanos>::max(), {1}, 3);
  EXPECT_LE(grid.size(), 4u);
}

}  // namespace
}  // namespace rubato
