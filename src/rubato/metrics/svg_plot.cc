#include "rubato/metrics/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "rubato/base/text.h"
#include "rubato/metrics/format.h"
#include "rubato/metrics/svg.h"
#include "rubato/metrics/svg_labels.h"

namespace rubato {
namespace {

constexpr double kWidth = 540, kHeight = 330;
constexpr double kLeft = 60, kTop = 14, kBottom = 46;
// A line that ends nearer to the right border than this has its name outside the frame.
constexpr double kBorderReach = 40;
constexpr size_t kDotsUpTo = 60;  // more points than this are a line without dots

struct Scale {
  double low, high;  // of the data, in log10 when logarithmic
  double from, to;   // in user units
  bool logarithmic;

  double transform(double v) const { return logarithmic ? std::log10(v) : v; }
  double operator()(double v) const {
    return from + (transform(v) - low) / (high - low) * (to - from);
  }
};

Scale make_scale(const PlotAxis& axis, const std::vector<double>& values, double from, double to,
                 double padding, double room_below) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double v : values) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  if (!(low <= high)) low = high = axis.logarithmic ? 1 : 0;
  const double data_low = low, data_high = high;
  Scale scale{0, 0, from, to, axis.logarithmic};
  scale.low = scale.transform(axis.low.value_or(data_low));
  scale.high = scale.transform(axis.high.value_or(data_high));
  double room = (scale.high - scale.low) * padding;
  // A flat line sits in the middle of a range of its own.
  if (!(scale.high - scale.low > 1e-12 * std::max(1.0, std::fabs(scale.high)))) {
    room = std::max(std::fabs(scale.high) * 0.1, 0.5);
  }
  if (!axis.low) scale.low -= room * room_below;
  if (!axis.high) scale.high += room;
  if (!(scale.high > scale.low)) scale.high = scale.low + 1;
  return scale;
}

std::vector<double> ticks_of(const Scale& scale, int target) {
  if (!scale.logarithmic) return linear_ticks(scale.low, scale.high, target);
  return log_ticks(std::pow(10.0, scale.low), std::pow(10.0, scale.high));
}

bool drawable(const LinePlot& plot, const PlotPoint& p) {
  return std::isfinite(p.x) && std::isfinite(p.y) && (!plot.x.logarithmic || p.x > 0) &&
         (!plot.y.logarithmic || p.y > 0);
}

/// The part of a line in user units that lies between two heights, as pieces.
std::vector<std::vector<PlotPoint>> cut_to_frame(const std::vector<PlotPoint>& line, double top,
                                                 double bottom) {
  std::vector<std::vector<PlotPoint>> pieces;
  const auto inside = [&](const PlotPoint& p) { return p.y >= top && p.y <= bottom; };
  const auto border = [&](const PlotPoint& in, const PlotPoint& out) {
    const double y = out.y < top ? top : bottom;
    return PlotPoint{in.x + (out.x - in.x) * (y - in.y) / (out.y - in.y), y};
  };
  bool open = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (inside(line[i])) {
      if (!open) pieces.emplace_back();
      if (!open && i > 0) pieces.back().push_back(border(line[i], line[i - 1]));
      pieces.back().push_back(line[i]);
      open = true;
    } else {
      if (open) pieces.back().push_back(border(line[i - 1], line[i]));
      open = false;
    }
  }
  return pieces;
}

void draw_axes(Svg& svg, const LinePlot& plot, const Scale& x, const Scale& y) {
  const std::vector<double> x_ticks = ticks_of(x, 5), y_ticks = ticks_of(y, 5);
  const std::vector<std::string> x_labels = tick_labels(x_ticks), y_labels = tick_labels(y_ticks);
  for (size_t i = 0; i < y_ticks.size(); ++i) {
    svg.line(x.from, y(y_ticks[i]), x.to, y(y_ticks[i]), "grid");
    svg.text(x.from - 7, y(y_ticks[i]) + 4, y_labels[i], TextAnchor::kEnd, "tick");
  }
  for (size_t i = 0; i < x_ticks.size(); ++i) {
    svg.line(x(x_ticks[i]), y.from, x(x_ticks[i]), y.from + 4, "axis");
    svg.text(x(x_ticks[i]), y.from + 18, x_labels[i], TextAnchor::kMiddle, "tick");
  }
  svg.line(x.from, y.from, x.to, y.from, "axis");
  svg.text((x.from + x.to) / 2, y.from + 38, plot.x.title, TextAnchor::kMiddle, "axis-title");
  svg.vertical_text(14, (y.from + y.to) / 2, plot.y.title, "axis-title");
}

/// A line with its dots; returns its end inside the frame.
PlotPoint draw_series(Svg& svg, const PlotSeries& series, const std::vector<PlotPoint>& values,
                      const std::vector<PlotPoint>& line, const Scale& y) {
  const std::string colour = cat("c", series.colour);
  for (const auto& piece : cut_to_frame(line, y.to, y.from)) {
    svg.polyline(piece, cat("line ", colour, series.dashed ? " dashed" : ""));
  }
  const bool dots = !series.dashed && line.size() <= kDotsUpTo;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool last = i + 1 == line.size(), visible = line[i].y >= y.to && line[i].y <= y.from;
    if (!visible || (!dots && !last)) continue;
    svg.circle(
        line[i].x, line[i].y, last ? 3.2 : 1.8, cat("dot ", colour),
        cat(series.label, series.label.empty() ? "" : ": ", values[i].y, " at ", values[i].x));
  }
  return {line.back().x, std::clamp(line.back().y, y.to, y.from)};
}

void draw_contents(Svg& svg, const LinePlot& plot, const Scale& x, const Scale& y) {
  BorderLabels at_border;
  FreePlaces places(x.from, y.to, x.to, y.from);
  std::vector<std::pair<PlotPoint, const PlotSeries*>> inner_ends;
  for (const PlotGuide& guide : plot.guides) {
    svg.line(x.from, y(guide.y), x.to, y(guide.y), "guide");
    at_border.add(guide.words, {x.to, y(guide.y)}, "c0");
    places.avoid({{x.from, y(guide.y)}, {x.to, y(guide.y)}});
  }
  for (const PlotSeries& series : plot.series) {
    std::vector<PlotPoint> values, line;
    for (const PlotPoint& p : series.points) {
      if (drawable(plot, p)) values.push_back(p);
    }
    if (values.empty()) continue;
    values = thin_out(values, kMaxPlotPoints);
    for (const PlotPoint& p : values) line.push_back({x(p.x), y(p.y)});
    const PlotPoint end = draw_series(svg, series, values, line, y);
    places.avoid(line);
    if (series.label.empty()) continue;
    if (end.x > x.to - kBorderReach) {
      at_border.add(series.label, end, cat("c", series.colour));
    } else {
      inner_ends.push_back({end, &series});
    }
  }
  at_border.draw(svg, x.to + 14, y.to + 4, y.from);
  // From above downwards, so that names stand in the order of their lines.
  std::stable_sort(inner_ends.begin(), inner_ends.end(),
                   [](const auto& a, const auto& b) { return a.first.y < b.first.y; });
  for (const auto& [end, series] : inner_ends) {
    const PlotPoint at = places.place(series->label, end, FreePlaces::Side::kRight);
    if (at.x > end.x) {
      svg.polyline({{end.x + 4, end.y}, {at.x - 3, at.y}}, cat("leader c", series->colour));
    }
    svg.text(at.x, at.y + 4, series->label, TextAnchor::kStart,
             cat("label halo c", series->colour));
  }
  for (const PlotMark& mark : plot.marks) {
    const PlotPoint ring{x(mark.at.x), y(mark.at.y)};
    svg.circle(ring.x, ring.y, 5.5, cat("ring c", mark.colour), mark.words);
    if (mark.words.empty()) continue;
    const PlotPoint at = places.place(mark.words, ring, FreePlaces::Side::kBelowLeft);
    svg.text(at.x, at.y + 4, mark.words, TextAnchor::kStart, cat("label halo c", mark.colour));
  }
}

}  // namespace

std::string draw_lines(const LinePlot& plot) {
  double widest = 0;
  std::vector<double> xs, ys;
  for (const PlotSeries& series : plot.series) {
    widest = std::max(widest, label_width(series.label));
    for (const PlotPoint& p : series.points) {
      if (!drawable(plot, p)) continue;
      xs.push_back(p.x);
      ys.push_back(p.y);
    }
  }
  for (const PlotGuide& guide : plot.guides) {
    widest = std::max(widest, label_width(guide.words));
    ys.push_back(guide.y);
  }
  const double right = kWidth - 16 - std::min(widest, kWidth / 2.5);
  const Scale x = make_scale(plot.x, xs, kLeft, right, 0, 1);
  // Marks have their words below the lines.
  const Scale y =
      make_scale(plot.y, ys, kHeight - kBottom, kTop, 0.05, plot.marks.empty() ? 1 : 3.2);
  Svg svg(kWidth, kHeight, plot.words, "plot");
  draw_axes(svg, plot, x, y);
  draw_contents(svg, plot, x, y);
  return std::move(svg).finish();
}

}  // namespace rubato
