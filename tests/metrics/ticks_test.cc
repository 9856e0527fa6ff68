#include "rubato/metrics/ticks.h"

#include <algorithm>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/metrics/format.h"

namespace rubato {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;
using testing::ElementsAreArray;

TEST(Ticks, LinearOnesAreRoundAndInside) {
  EXPECT_THAT(linear_ticks(0, 100, 5), ElementsAreArray({0., 20., 40., 60., 80., 100.}));
  EXPECT_THAT(tick_labels(linear_ticks(3.08, 3.51, 5)),
              ElementsAre("3.1", "3.2", "3.3", "3.4", "3.5"));
  EXPECT_THAT(tick_labels(linear_ticks(-0.012, 0.012, 4)),
              ElementsAre("-0.010", "-0.005", "0", "0.005", "0.010"));
  for (const auto& [low, high] : {std::pair{0.0, 1e-9},
                                  {1e9, 1.1e9},
                                  {-7.3, 12.9},
                                  {5.0, 5.0},
                                  {1e30, 1.0000000000000002e30}}) {
    const auto ticks = linear_ticks(low, high, 5);
    ASSERT_FALSE(ticks.empty());
    EXPECT_LE(ticks.size(), 9u);
    EXPECT_GE(ticks.front(), low - (high - low) * 1e-6);
    EXPECT_LE(ticks.back(), high + (high - low) * 1e-6);
  }
}

TEST(Ticks, LogarithmicOnesArePowersOrFiner) {
  EXPECT_THAT(log_ticks(1, 1000),
              ElementsAre(DoubleEq(1), DoubleEq(10), DoubleEq(100), DoubleEq(1000)));
  EXPECT_THAT(log_ticks(3, 25), ElementsAre(DoubleEq(5), DoubleEq(10), DoubleEq(20)));
}

TEST(Ticks, LabelsUseSuffixes) {
  EXPECT_THAT(tick_labels({0, 5e5, 1e6}), ElementsAre("0", "0.5M", "1.0M"));
  EXPECT_THAT(tick_labels({0, 20000, 40000}), ElementsAre("0", "20k", "40k"));
  EXPECT_THAT(tick_labels({0, 400, 800, 1200}), ElementsAre("0", "400", "800", "1200"));
}

TEST(ThinOut, KeepsEndsPeaksAndTheLimit) {
  std::vector<PlotPoint> points;
  for (int i = 0; i < 100'000; ++i) points.push_back({static_cast<double>(i), 1});
  points[77'777].y = 9;
  points[33'333].y = -9;
  points[5].y = std::numeric_limits<double>::quiet_NaN();
  const auto kept = thin_out(points, 1500);
  EXPECT_LE(kept.size(), 1500u);
  EXPECT_EQ(kept.front().x, 0);
  EXPECT_EQ(kept.back().x, 99'999);
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end(),
                             [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; }));
  const auto has = [&](double y) {
    return std::any_of(kept.begin(), kept.end(), [&](const PlotPoint& p) { return p.y == y; });
  };
  EXPECT_TRUE(has(9));
  EXPECT_TRUE(has(-9));
}

TEST(ThinOut, LeavesShortSeriesAlone) {
  EXPECT_EQ(thin_out({{0, 1}, {1, 2}, {2, 3}}, 1500).size(), 3u);
  EXPECT_TRUE(thin_out({}, 1500).empty());
}

TEST(Format, NumbersAsPeopleReadThem) {
  EXPECT_EQ(fixed(3.14159, 2), "3.14");
  EXPECT_EQ(fixed(-0.001, 2), "0.00");
  EXPECT_EQ(fixed(std::numeric_limits<double>::infinity(), 2), "-");
  EXPECT_EQ(signed_fixed(1.5, 1), "+1.5");
  EXPECT_EQ(signed_fixed(-1.5, 1), "-1.5");
  EXPECT_EQ(signed_fixed(std::numeric_limits<double>::quiet_NaN(), 1), "-");
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(-1234567), "-1,234,567");
  EXPECT_EQ(short_count(48900), "48.9k");
  EXPECT_EQ(short_count(999), "999");
  EXPECT_EQ(short_count(999.9), "1.00k");
  EXPECT_EQ(short_count(3.256e6), "3.26M");
  EXPECT_EQ(clock_time(7), "7s");
  EXPECT_EQ(clock_time(59.7), "1:00");
  EXPECT_EQ(clock_time(185), "3:05");
  EXPECT_EQ(clock_time(7505), "2:05:05");
  EXPECT_EQ(clock_time(std::numeric_limits<double>::quiet_NaN()), "-");
  EXPECT_EQ(escape_markup("<a b=\"c\">&'\x01\n"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\n");
}

}  // namespace
}  // namespace rubato
