// Line plots: axes with round ticks, linear or logarithmic, lines named at their right ends.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rubato/metrics/ticks.h"

namespace rubato {

struct PlotAxis {
  std::string title;  // with the unit
  bool logarithmic = false;
  std::optional<double> low, high;  // absent: what the data need
};

struct PlotSeries {
  std::string label;  // written at the line's right end; "" for a line without a name
  int colour = 0;     // class c0, c1, .. of the page's style
  std::vector<PlotPoint> points;
  bool dashed = false;
};

/// A dashed horizontal line, named at its right end.
struct PlotGuide {
  double y = 0;
  std::string words;
};

/// A ring around a point, with a hint for the pointer.
struct PlotMark {
  PlotPoint at;
  int colour = 0;
  std::string words;  // written near the ring; may be ""
};

struct LinePlot {
  std::string words;  // describes the plot to those who cannot see it
  PlotAxis x, y;
  std::vector<PlotSeries> series;
  std::vector<PlotGuide> guides;
  std::vector<PlotMark> marks;
};

/// Points of a series beyond this many are thinned out.
inline constexpr size_t kMaxPlotPoints = 1500;

/// The <svg> element. Parts of a line outside the axes' ranges are cut off; points that are not
/// finite, or not positive on a logarithmic axis, are left out.
std::string draw_lines(const LinePlot& plot);

}  // namespace rubato
