#include "rubato/metrics/svg_plot.h"

#include <cmath>
#include <limits>
#include <regex>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/metrics/svg_bars.h"
#include "rubato/metrics/svg_labels.h"
#include "rubato/metrics/svg_timeline.h"

namespace rubato {
namespace {

using testing::HasSubstr;
using testing::Not;

/// Points of every polyline whose class starts with `css_class`.
std::vector<std::vector<PlotPoint>> lines_of(const std::string& svg, const std::string& css_class) {
  std::vector<std::vector<PlotPoint>> lines;
  const std::regex element("<polyline class=\"" + css_class + "[^\"]*\" points=\"([^\"]*)\"");
  for (std::sregex_iterator it(svg.begin(), svg.end(), element), end; it != end; ++it) {
    std::vector<PlotPoint> points;
    std::istringstream in((*it)[1]);
    PlotPoint p;
    char comma;
    while (in >> p.x >> comma >> p.y) points.push_back(p);
    lines.push_back(points);
  }
  return lines;
}

struct Rect {
  double x, y, width, height;
};

std::vector<Rect> rects_of(const std::string& svg, const std::string& css_class) {
  std::vector<Rect> rects;
  const std::regex element(
      "<rect x=\"([-0-9.]+)\" y=\"([-0-9.]+)\" width=\"([-0-9.]+)\" height=\"([-0-9.]+)\" "
      "class=\"" +
      css_class + "[^\"]*\"");
  for (std::sregex_iterator it(svg.begin(), svg.end(), element), end; it != end; ++it) {
    rects.push_back(
        {std::stod((*it)[1]), std::stod((*it)[2]), std::stod((*it)[3]), std::stod((*it)[4])});
  }
  return rects;
}

LinePlot two_lines() {
  LinePlot plot;
  plot.x.title = "tokens";
  plot.y.title = "loss (nats)";
  plot.series = {{"up", 1, {{0, 1}, {50, 2}, {100, 3}}}, {"down", 2, {{0, 3}, {100, 1}}}};
  return plot;
}

TEST(LinePlot, PointsLieWhereTheirNumbersSay) {
  const std::string svg = draw_lines(two_lines());
  const auto lines = lines_of(svg, "line");
  ASSERT_EQ(lines.size(), 2u);
  ASSERT_EQ(lines[0].size(), 3u);
  const auto& up = lines[0];
  const auto& down = lines[1];
  EXPECT_NEAR(up[1].x, (up[0].x + up[2].x) / 2, 0.11);  // coordinates have one digit
  EXPECT_NEAR(up[1].y, (up[0].y + up[2].y) / 2, 0.11);
  EXPECT_GT(up[0].y, up[2].y);  // y grows downwards
  EXPECT_EQ(up[0].y, down[1].y);
  EXPECT_EQ(up[0].x, down[0].x);
  for (const char* words : {">up</text>", ">down</text>", ">tokens</text>", ">loss (nats)</text>",
                            ">100</text>", ">2.0</text>"}) {
    EXPECT_THAT(svg, HasSubstr(words));
  }
}

TEST(LinePlot, LogarithmicAxisSpacesPowersEqually) {
  LinePlot plot;
  plot.x.logarithmic = true;
  plot.series = {{"a", 1, {{1, 1}, {10, 1}, {100, 2}, {-5, 9}, {0, 9}}}};
  const auto lines = lines_of(draw_lines(plot), "line");
  ASSERT_EQ(lines.size(), 1u);
  ASSERT_EQ(lines[0].size(), 3u);  // what is not positive has no place
  EXPECT_NEAR(lines[0][1].x - lines[0][0].x, lines[0][2].x - lines[0][1].x, 0.11);
}

TEST(LinePlot, LineIsCutAtTheTopOfTheAxis) {
  LinePlot plot;
  plot.y.low = 0;
  plot.y.high = 10;
  plot.series = {{"a", 1, {{0, 20}, {10, 0}, {20, 20}, {30, 5}}}};
  const auto lines = lines_of(draw_lines(plot), "line");
  ASSERT_EQ(lines.size(), 2u);
  double top = std::numeric_limits<double>::infinity();
  for (const auto& line : lines) {
    for (const PlotPoint& p : line) top = std::min(top, p.y);
  }
  EXPECT_EQ(lines[0].size(), 3u);
  EXPECT_EQ(lines[0][0].y, top);
  EXPECT_EQ(lines[0][2].y, top);
  // From 20 to 0 over x 0 .. 10 the line is at 10 where x = 5.
  EXPECT_NEAR(lines[0][0].x + lines[0][2].x, 2 * lines[0][1].x, 0.3);
}

TEST(LinePlot, DegenerateDataStillMakeADrawing) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::vector<PlotPoint>& points : {std::vector<PlotPoint>{},
                                               {{0, 0}},
                                               {{5, 3}, {5, 3}},
                                               {{nan, 1}, {1, nan}},
                                               {{0, 1e300}, {1, -1e300}},
                                               {{0, 1e-300}, {1, 2e-300}}}) {
    LinePlot plot;
    plot.series = {{"a", 1, points}};
    const std::string svg = draw_lines(plot);
    EXPECT_THAT(svg, HasSubstr("</svg>"));
    EXPECT_THAT(svg, Not(HasSubstr("\"-\"")));  // how a number that is not finite would print
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
  }
}

TEST(LinePlot, WordsAreEscaped) {
  LinePlot plot = two_lines();
  plot.words = "\"><b>";
  plot.series[0].label = "<i>&";
  plot.x.title = "a < b";
  const std::string svg = draw_lines(plot);
  EXPECT_THAT(svg, Not(HasSubstr("<b>")));
  EXPECT_THAT(svg, Not(HasSubstr("<i>")));
  EXPECT_THAT(svg, HasSubstr("a &lt; b"));
}

TEST(BorderLabels, KeepOrderAndDoNotOverlap) {
  BorderLabels labels;
  for (int i = 0; i < 6; ++i) {
    labels.add(std::string(1, static_cast<char>('a' + i)), {100, 200.0 - i}, "c1");
  }
  Svg svg(300, 300, "", "");
  labels.draw(svg, 120, 10, 210);
  const std::string out = std::move(svg).finish();
  std::vector<double> heights;
  const std::regex element("<text x=\"120\" y=\"([-0-9.]+)\"");
  for (std::sregex_iterator it(out.begin(), out.end(), element), end; it != end; ++it) {
    heights.push_back(std::stod((*it)[1]));
  }
  ASSERT_EQ(heights.size(), 6u);
  for (size_t i = 1; i < heights.size(); ++i) EXPECT_GE(heights[i] - heights[i - 1], 15.9);
  EXPECT_LE(heights.back(), 214.1);
}

TEST(FreePlaces, WordsAvoidLinesAndEachOther) {
  FreePlaces places(0, 0, 400, 300);
  places.avoid({{0, 100}, {400, 100}});
  const PlotPoint first = places.place("word", {50, 100}, FreePlaces::Side::kRight);
  EXPECT_GE(std::fabs(first.y - 100), 8);
  const PlotPoint second = places.place("word", {50, 100}, FreePlaces::Side::kRight);
  EXPECT_GE(std::fabs(second.y - first.y), 16);
}

TEST(Histogram, BarHeightsAreShares) {
  const std::string svg = draw_histogram({"w", "t", "staleness", 3, {10, 30, 0, 60}, 6, 2.1});
  const auto bars = rects_of(svg, "bar c3");
  ASSERT_EQ(bars.size(), 3u);  // an empty bin has no bar
  EXPECT_NEAR(bars[1].height / bars[0].height, 3, 0.05);
  EXPECT_NEAR(bars[2].height / bars[0].height, 6, 0.1);
  EXPECT_NEAR(bars[0].y + bars[0].height, bars[2].y + bars[2].height, 0.11);
  EXPECT_THAT(svg, HasSubstr("3: 60 of 100, 60 %"));
  EXPECT_THAT(svg, HasSubstr("mean 2.10"));
}

TEST(Histogram, ManyValuesShareBars) {
  const std::string svg =
      draw_histogram({"w", "t", "x", 1, std::vector<int64_t>(100, 1), 100, 49.5});
  const auto bars = rects_of(svg, "bar");
  EXPECT_LE(bars.size(), 32u);
  EXPECT_THAT(svg, HasSubstr("0-3: 4 of 100"));
}

TEST(StackedBars, PartsFillTheRowInProportion) {
  const std::string svg = draw_stacked_bars({"w", "worker", {{"dn", 1, {50, 25, 25}}}});
  const auto parts = rects_of(svg, "part");
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_NEAR(parts[0].width, 2 * parts[1].width, 0.3);
  EXPECT_NEAR(parts[0].x + parts[0].width, parts[1].x, 0.21);
  EXPECT_THAT(svg, HasSubstr("dn, worker 2: 25 %"));
}

TEST(Timeline, BlocksHaveTheirTimeAsWidthAndAreCutAtTheEnd) {
  const auto s = [](int64_t seconds) { return seconds * kNanosPerSecond; };
  Timeline timeline;
  timeline.end_ns = s(10);
  const WorkerId w(0);
  timeline.lanes = {{"worker 0",
                     "20 %",
                     {{w, TaskId(0), ShardId(1), 0, s(4), SpanKind::kTrain},
                      {w, TaskId(0), ShardId(1), s(4), s(6), SpanKind::kWait},
                      {w, TaskId(1), ShardId(1), s(6), s(14), SpanKind::kLost},
                      {w, TaskId(2), ShardId(1), s(20), s(24), SpanKind::kTrain}}}};
  const std::string svg = draw_timeline(timeline);
  const auto train = rects_of(svg, "block"), wait = rects_of(svg, "wait"),
             lost = rects_of(svg, "lost"), lane = rects_of(svg, "lane");
  ASSERT_EQ(train.size(), 1u);  // the last one begins behind the end
  ASSERT_EQ(wait.size(), 1u);
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_NEAR(train[0].width, lane[0].width * 0.4, 0.11);
  EXPECT_NEAR(wait[0].width, lane[0].width * 0.2, 0.11);
  EXPECT_NEAR(lost[0].x + lost[0].width, lane[0].x + lane[0].width, 0.21);
  EXPECT_THAT(svg, HasSubstr("task 0, shard 1: waiting 4.0 - 6.0 s"));
}

TEST(Timeline, WhatTravelsIsAThinLineOverTheLane) {
  const auto s = [](int64_t seconds) { return seconds * kNanosPerSecond; };
  Timeline timeline;
  timeline.end_ns = s(10);
  const WorkerId w(0);
  timeline.lanes = {{"worker 0",
                     "",
                     {{w, TaskId(1), ShardId(1), s(2), s(4), SpanKind::kReceive},
                      {w, TaskId(0), ShardId(1), s(3), s(6), SpanKind::kSend},
                      {w, TaskId(1), ShardId(1), s(0), s(8), SpanKind::kTrain}}}};
  const std::string svg = draw_timeline(timeline);
  const auto train = rects_of(svg, "block"), receive = rects_of(svg, "receive"),
             send = rects_of(svg, "send");
  ASSERT_EQ(train.size(), 1u);
  ASSERT_EQ(receive.size(), 1u);
  ASSERT_EQ(send.size(), 1u);
  EXPECT_NEAR(receive[0].width, train[0].width / 4, 0.11);
  EXPECT_LT(receive[0].height, train[0].height / 4);
  EXPECT_NEAR(receive[0].y, train[0].y, 0.11);
  EXPECT_NEAR(send[0].y + send[0].height, train[0].y + train[0].height, 0.11);
  EXPECT_LT(svg.find("class=\"block"), svg.find("class=\"receive")) << "drawn over it";
  EXPECT_THAT(svg, HasSubstr("task 0, shard 1: sending 3.0 - 6.0 s"));
}

}  // namespace
}  // namespace rubato
