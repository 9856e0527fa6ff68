#include "rubato/metrics/svg_labels.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "rubato/base/text.h"

namespace rubato {
namespace {

constexpr double kCharWidth = 8.6;  // DejaVu Sans Bold at 13 units, the widest of the usual fonts
constexpr double kLabelHeight = 16;
constexpr double kLinePointEvery = 4;

// Narrows [begin, end], shares of the way from `from` to `from` + `delta`, to what is in [low,
// high].
void clip_share(double from, double delta, double low, double high, double& begin, double& end) {
  if (delta == 0) {
    if (from < low || from > high) end = begin;
    return;
  }
  const auto [first, last] = std::minmax({(low - from) / delta, (high - from) / delta});
  begin = std::max(begin, first);
  end = std::min(end, last);
}

}  // namespace

double label_width(std::string_view words) {
  return kCharWidth * static_cast<double>(words.size());
}

void BorderLabels::add(std::string words, PlotPoint line_end, std::string css_class) {
  labels_.push_back({std::move(words), line_end, std::move(css_class)});
}

void BorderLabels::draw(Svg& svg, double x, double top, double bottom) const {
  std::vector<size_t> order(labels_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return labels_[a].end.y < labels_[b].end.y; });
  std::vector<double> heights;
  double highest = top;
  for (const size_t i : order) {
    heights.push_back(std::max(labels_[i].end.y, highest));
    highest = heights.back() + kLabelHeight;
  }
  double lowest = bottom;
  for (size_t k = order.size(); k-- > 0;) {
    heights[k] = std::min(heights[k], lowest);
    lowest = heights[k] - kLabelHeight;
  }
  for (size_t k = 0; k < order.size(); ++k) {
    const Label& label = labels_[order[k]];
    svg.polyline({{label.end.x + 4, label.end.y}, {x - 4, heights[k]}},
                 cat("leader ", label.css_class));
    svg.text(x, heights[k] + 4, label.words, TextAnchor::kStart, cat("label ", label.css_class));
  }
}

void FreePlaces::avoid(const std::vector<PlotPoint>& line) {
  for (size_t i = 0; i < line.size(); ++i) {
    line_points_.push_back(line[i]);
    if (i == 0) continue;
    const PlotPoint &a = line[i - 1], &b = line[i];
    const double dx = b.x - a.x, dy = b.y - a.y;
    // Only what lies inside the frame: a diverging curve leaves it for places without end.
    double begin = 0, end = 1;
    clip_share(a.x, dx, left_, right_, begin, end);
    clip_share(a.y, dy, top_, bottom_, begin, end);
    if (!(begin < end)) continue;
    const double steps = std::floor((end - begin) * std::hypot(dx, dy) / kLinePointEvery);
    for (double s = 1; s < steps; ++s) {
      const double share = begin + (end - begin) * s / steps;
      line_points_.push_back({a.x + dx * share, a.y + dy * share});
    }
  }
}

bool FreePlaces::is_free(const Box& box) const {
  if (box.left < left_ || box.right > right_ || box.top < top_ || box.bottom > bottom_) {
    return false;
  }
  for (const PlotPoint& p : line_points_) {
    if (p.x > box.left && p.x < box.right && p.y > box.top && p.y < box.bottom) return false;
  }
  return std::none_of(taken_.begin(), taken_.end(), [&](const Box& other) {
    return box.left < other.right && other.left < box.right && box.top < other.bottom &&
           other.top < box.bottom;
  });
}

PlotPoint FreePlaces::place(std::string_view words, PlotPoint anchor, Side side) {
  const double width = label_width(words), right = anchor.x + 14, left = anchor.x - 6 - width,
               middle = anchor.x - width / 2;
  std::vector<double> xs = {right, middle, left}, dys = {0, 8, 16, 24, 32, 40, 48, -16, -24, -32};
  if (side == Side::kBelowLeft) {
    xs = {left, middle, right};
    dys = {18, 26, 34, -18, -26, 0};
  }
  std::optional<Box> chosen;
  for (const double x : xs) {
    for (const double dy : dys) {
      const double y = anchor.y + dy;
      const Box box{x, y - kLabelHeight / 2, x + width, y + kLabelHeight / 2};
      if (!chosen) chosen = box;
      if (is_free(box)) {
        taken_.push_back(box);
        return {x, y};
      }
    }
  }
  taken_.push_back(*chosen);
  return {chosen->left, chosen->top + kLabelHeight / 2};
}

}  // namespace rubato
