#include "rubato/web/bounded_series.h"

#include <limits>
#include <map>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato {
namespace {

struct Point {
  int64_t x;
  double value;
  double y() const { return value; }
};

using Shown = std::map<size_t, std::vector<int64_t>>;

Shown shown(const BoundedSeries<Point>& series, int64_t moment = 0) {
  Shown rows;
  series.changed_since(moment, [&](size_t at, const Point& p) { rows[at].push_back(p.x); });
  return rows;
}

// A reader that knows what was shown at `moment` and is told what changed knows all.
RC_GTEST_PROP(BoundedSeries, KeepsExtremesAndTheEndWhateverItsLength, ()) {
  const auto values =
      *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(-50, 50)));
  const auto watched = *rc::gen::inRange<size_t>(0, values.size());
  BoundedSeries<Point> series(8);
  Shown known;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i == watched) known = shown(series);
    series.add({static_cast<int64_t>(i), static_cast<double>(values[i])},
               static_cast<int64_t>(i) + 1);
  }
  const Shown all = shown(series);
  RC_ASSERT(series.size() <= 8u);
  int lowest = 100, highest = -100;
  int64_t before = -1;
  for (const auto& [at, xs] : all) {
    RC_ASSERT(xs.size() <= 3u);
    for (const int64_t x : xs) {
      RC_ASSERT(x > before);
      before = x;
      lowest = std::min(lowest, values[static_cast<size_t>(x)]);
      highest = std::max(highest, values[static_cast<size_t>(x)]);
    }
  }
  RC_ASSERT(before == static_cast<int64_t>(values.size()) - 1);
  RC_ASSERT(lowest == *std::ranges::min_element(values));
  RC_ASSERT(highest == *std::ranges::max_element(values));
  for (const auto& [at, xs] : shown(series, static_cast<int64_t>(watched))) known[at] = xs;
  std::erase_if(known, [&](const auto& row) { return row.first >= series.size(); });
  RC_ASSERT(known == all);
}

TEST(BoundedSeries, WhatIsNoNumberIsTheHighest) {
  BoundedSeries<Point> series(2);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  int64_t moment = 0;
  for (const double value : {nan, 3.0, 2.0, nan, 5.0, 4.0, 4.0, 4.0}) {
    const int64_t x = moment;
    series.add({x, value}, ++moment);
  }
  EXPECT_EQ(shown(series), (Shown{{0, {0, 2, 3}}, {1, {4, 5, 7}}}));
}

}  // namespace
}  // namespace rubato
