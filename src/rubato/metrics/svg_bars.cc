#include "rubato/metrics/svg_bars.h"

#include <algorithm>
#include <numeric>

#include "rubato/base/text.h"
#include "rubato/metrics/format.h"
#include "rubato/metrics/svg.h"

namespace rubato {
namespace {

constexpr size_t kMaxBars = 32;
constexpr int kPartClasses = 8;

std::string percent(double share) { return cat(fixed(100 * share, 0), " %"); }

}  // namespace

std::string draw_histogram(const Histogram& histogram) {
  constexpr double kWidth = 300, kHeight = 200, kLeft = 48, kTop = 30, kBottom = 40;
  const size_t values = std::max({histogram.bins, histogram.counts.size(), size_t{1}});
  const size_t per_bar = (values + kMaxBars - 1) / kMaxBars;
  std::vector<int64_t> bars((values + per_bar - 1) / per_bar);
  for (size_t i = 0; i < histogram.counts.size(); ++i) bars[i / per_bar] += histogram.counts[i];
  const int64_t total = std::accumulate(bars.begin(), bars.end(), int64_t{0});

  Svg svg(kWidth, kHeight, histogram.words, "plot small");
  const double bottom = kHeight - kBottom, right = kWidth - 8;
  const double slot = (right - kLeft) / static_cast<double>(bars.size());
  const auto height_of = [&](double share) { return share * (bottom - kTop); };
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    svg.line(kLeft, bottom - height_of(share), right, bottom - height_of(share),
             share == 0 ? "axis" : "grid");
    svg.text(kLeft - 6, bottom - height_of(share) + 4,
             cat(fixed(100 * share, 0), share == 1 ? " %" : ""), TextAnchor::kEnd, "tick");
  }
  svg.text(kLeft, 16, histogram.title, TextAnchor::kStart, cat("label c", histogram.colour));
  const size_t label_every = (bars.size() + 9) / 10;
  for (size_t b = 0; b < bars.size(); ++b) {
    const double left = kLeft + slot * static_cast<double>(b);
    const size_t first = b * per_bar, last = std::min(first + per_bar, values) - 1;
    const std::string name = first == last ? cat(first) : cat(first, "-", last);
    if (b % label_every == 0) {
      svg.text(left + slot / 2, bottom + 16, per_bar == 1 ? name : cat(first), TextAnchor::kMiddle,
               "tick");
    }
    if (bars[b] == 0) continue;
    const double share = static_cast<double>(bars[b]) / static_cast<double>(total);
    svg.rect(left + slot * 0.1, bottom - height_of(share), slot * 0.8, height_of(share),
             cat("bar c", histogram.colour),
             cat(name, ": ", grouped(bars[b]), " of ", grouped(total), ", ", percent(share)));
  }
  if (total > 0) {
    const double x = kLeft + slot * ((histogram.mean + 0.5) / static_cast<double>(per_bar));
    svg.line(x, kTop, x, bottom, "guide");
    const bool left_side = x > (kLeft + right) / 2;
    svg.text(x + (left_side ? -1 : 1) * (slot / 2 + 5), kTop + 10,
             cat("mean ", fixed(histogram.mean, 2)),
             left_side ? TextAnchor::kEnd : TextAnchor::kStart, "note halo");
  }
  svg.text((kLeft + right) / 2, kHeight - 6, histogram.x_title, TextAnchor::kMiddle, "axis-title");
  return std::move(svg).finish();
}

std::string draw_stacked_bars(const StackedBars& bars) {
  constexpr double kWidth = 540, kLeft = 130, kRow = 30, kBar = 24;
  Svg svg(kWidth, kRow * static_cast<double>(bars.bars.size()) + 4, bars.words, "plot");
  double top = 2;
  for (const StackedBar& bar : bars.bars) {
    svg.text(kLeft - 10, top + kBar / 2 + 5, bar.label, TextAnchor::kEnd,
             cat("label c", bar.colour));
    const double total = std::accumulate(bar.parts.begin(), bar.parts.end(), 0.0);
    double left = kLeft;
    for (size_t i = 0; i < bar.parts.size() && total > 0; ++i) {
      const double share = bar.parts[i] / total, width = share * (kWidth - kLeft - 2);
      const int part_class = static_cast<int>(i) % kPartClasses;
      svg.rect(left, top, width, kBar, cat("part p", part_class),
               cat(bar.label, ", ", bars.part_name, " ", i, ": ", percent(share)));
      if (width > 38) {
        svg.text(left + width / 2, top + kBar / 2 + 5, percent(share), TextAnchor::kMiddle,
                 cat("inside i", part_class));
      }
      left += width;
    }
    top += kRow;
  }
  return std::move(svg).finish();
}

}  // namespace rubato
