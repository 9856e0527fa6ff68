#include "rubato/metrics/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "rubato/base/text.h"
#include "rubato/metrics/format.h"
#include "rubato/metrics/svg.h"

namespace rubato {
namespace {

constexpr double kWidth = 540, kHeight = 330;
constexpr double kLeft = 60, kTop = 14, kBottom = 46;
constexpr double kCharWidth = 7.2;  // of the label font, on the safe side
constexpr double kLabelHeight = 16;
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
                 double padding) {
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
  if (!axis.low) scale.low -= room;
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

/// Moves label heights apart until they do not overlap, keeping their order, within the frame.
void spread(std::vector<double>& heights, double top, double bottom) {
  std::vector<size_t> order(heights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return heights[a] < heights[b]; });
  double floor = top;
  for (const size_t i : order) {
    heights[i] = std::max(heights[i], floor);
    floor = heights[i] + kLabelHeight;
  }
  double ceiling = bottom;
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    heights[*it] = std::min(heights[*it], ceiling);
    ceiling = heights[*it] - kLabelHeight;
  }
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

void draw_series(Svg& svg, const LinePlot& plot, const Scale& x, const Scale& y) {
  std::vector<double> label_heights;
  std::vector<const PlotSeries*> labelled;
  std::vector<PlotPoint> ends;
  for (const PlotSeries& series : plot.series) {
    const std::string colour = cat("c", series.colour);
    std::vector<PlotPoint> kept, line;
    for (const PlotPoint& p : series.points) {
      if (drawable(plot, p)) kept.push_back(p);
    }
    if (kept.empty()) continue;
    kept = thin_out(kept, kMaxPlotPoints);
    for (const PlotPoint& p : kept) line.push_back({x(p.x), y(p.y)});
    for (const auto& piece : cut_to_frame(line, y.to, y.from)) {
      svg.polyline(piece, cat("line ", colour, series.dashed ? " dashed" : ""));
    }
    const bool dots = !series.dashed && kept.size() <= kDotsUpTo;
    for (size_t i = 0; i < kept.size(); ++i) {
      const bool visible = line[i].y >= y.to && line[i].y <= y.from;
      if (!visible || (!dots && i + 1 < kept.size())) continue;
      svg.circle(line[i].x, line[i].y, i + 1 < kept.size() ? 1.8 : 3.2, cat("dot ", colour),
                 cat(series.label, ": ", kept[i].y, " at ", kept[i].x));
    }
    ends.push_back({line.back().x, std::clamp(line.back().y, y.to, y.from)});
    label_heights.push_back(ends.back().y);
    labelled.push_back(&series);
  }
  spread(label_heights, y.to + 4, y.from);
  for (size_t i = 0; i < labelled.size(); ++i) {
    const std::string colour = cat("c", labelled[i]->colour);
    // A label stands at the frame's right border; a thin line leads to it from where its line ends.
    svg.polyline({{ends[i].x + 4, ends[i].y}, {x.to + 10, label_heights[i]}},
                 cat("leader ", colour));
    svg.text(x.to + 14, label_heights[i] + 4, labelled[i]->label, TextAnchor::kStart,
             cat("label ", colour));
  }
}

}  // namespace

std::string draw_lines(const LinePlot& plot) {
  size_t longest = 0;
  std::vector<double> xs, ys;
  for (const PlotSeries& series : plot.series) {
    longest = std::max(longest, series.label.size());
    for (const PlotPoint& p : series.points) {
      if (!drawable(plot, p)) continue;
      xs.push_back(p.x);
      ys.push_back(p.y);
    }
  }
  for (const PlotGuide& guide : plot.guides) ys.push_back(guide.y);
  const double right =
      kWidth - 18 - kCharWidth * static_cast<double>(std::min<size_t>(longest, 24));
  const Scale x = make_scale(plot.x, xs, kLeft, right, 0);
  const Scale y = make_scale(plot.y, ys, kHeight - kBottom, kTop, 0.05);
  Svg svg(kWidth, kHeight, plot.words, "plot");
  draw_axes(svg, plot, x, y);
  for (const PlotGuide& guide : plot.guides) {
    svg.line(x.from, y(guide.y), x.to, y(guide.y), "guide");
    svg.text(x.to - 4, y(guide.y) - 6, guide.words, TextAnchor::kEnd, "note");
  }
  draw_series(svg, plot, x, y);
  for (const PlotMark& mark : plot.marks) {
    const std::string colour = cat("c", mark.colour);
    svg.circle(x(mark.at.x), y(mark.at.y), 5.5, cat("ring ", colour), mark.words);
    svg.text(x(mark.at.x), y(mark.at.y) + 20, mark.words, TextAnchor::kMiddle,
             cat("label ", colour));
  }
  return std::move(svg).finish();
}

}  // namespace rubato
