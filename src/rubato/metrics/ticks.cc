#include "rubato/metrics/ticks.h"

#include <algorithm>
#include <cmath>

#include "rubato/base/text.h"
#include "rubato/metrics/format.h"

namespace rubato {

std::vector<double> linear_ticks(double low, double high, int target) {
  if (!(high > low) || target < 1) return {low};
  const double rough = (high - low) / target;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double ratio = rough / power;
  const double step = power * (ratio < 1.5 ? 1 : ratio < 3.5 ? 2 : ratio < 7.5 ? 5 : 10);
  // So far from zero that neighbouring multiples of the step are the same number.
  if (!std::isfinite(step) || std::max(std::fabs(low), std::fabs(high)) / step > 1e15) return {low};
  std::vector<double> ticks;
  // By index, not by adding up: sums drift.
  const double first = std::ceil(low / step - 1e-9), last = std::floor(high / step + 1e-9);
  for (double i = first; i <= last; ++i) ticks.push_back(i * step);
  return ticks;
}

std::vector<double> log_ticks(double low, double high) {
  const auto multiples = [&](std::initializer_list<double> digits) {
    std::vector<double> ticks;
    for (double e = std::floor(std::log10(low)); e <= std::ceil(std::log10(high)); ++e) {
      for (const double digit : digits) {
        const double tick = digit * std::pow(10.0, e);
        if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push_back(tick);
      }
    }
    return ticks;
  };
  std::vector<double> ticks = multiples({1});
  if (ticks.size() < 3) ticks = multiples({1, 2, 5});
  return ticks;
}

std::vector<std::string> tick_labels(const std::vector<double>& ticks) {
  double largest = 0, gap = 0;
  for (size_t i = 0; i < ticks.size(); ++i) {
    largest = std::max(largest, std::fabs(ticks[i]));
    if (i > 0) {
      const double step = std::fabs(ticks[i] - ticks[i - 1]);
      gap = gap == 0 ? step : std::min(gap, step);
    }
  }
  double unit = 1;
  const char* suffix = "";
  for (const auto& [size, letter] :
       {std::pair{1e9, "G"}, std::pair{1e6, "M"}, std::pair{1e4, "k"}}) {
    if (largest >= size) {
      unit = size == 1e4 ? 1e3 : size;
      suffix = letter;
      break;
    }
  }
  int digits = 0;
  if (gap > 0)
    digits = std::clamp(static_cast<int>(-std::floor(std::log10(gap / unit) + 1e-9)), 0, 9);
  std::vector<std::string> labels;
  for (const double tick : ticks) {
    labels.push_back(tick == 0 ? "0" : cat(fixed(tick / unit, digits), suffix));
  }
  return labels;
}

std::vector<PlotPoint> thin_out(const std::vector<PlotPoint>& points, size_t limit) {
  std::vector<PlotPoint> finite;
  for (const PlotPoint& p : points) {
    if (std::isfinite(p.x) && std::isfinite(p.y)) finite.push_back(p);
  }
  if (finite.size() <= limit || limit < 4) return finite;
  const size_t stretches = (limit - 2) / 2, inner = finite.size() - 2;
  std::vector<PlotPoint> kept = {finite.front()};
  for (size_t s = 0; s < stretches; ++s) {
    const auto begin = finite.begin() + static_cast<std::ptrdiff_t>(1 + inner * s / stretches);
    const auto end = finite.begin() + static_cast<std::ptrdiff_t>(1 + inner * (s + 1) / stretches);
    auto [low, high] = std::minmax_element(
        begin, end, [](const PlotPoint& a, const PlotPoint& b) { return a.y < b.y; });
    if (high < low) std::swap(low, high);
    kept.push_back(*low);
    if (high != low) kept.push_back(*high);
  }
  kept.push_back(finite.back());
  return kept;
}

}  // namespace rubato
