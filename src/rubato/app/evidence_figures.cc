#include "rubato/app/evidence_figures.h"

#include <algorithm>

#include "rubato/metrics/report_style.h"
#include "rubato/metrics/svg_plot.h"

namespace rubato {
namespace {

constexpr int kColours = 7;  // of the page's style

// Evaluation by evaluation over the seeds, as far as all of them go.
std::vector<PlotPoint> mean_curve(const std::vector<std::optional<EvidenceRow>>& seeds,
                                  bool by_clock) {
  std::vector<const EvidenceRow*> runs;
  size_t length = SIZE_MAX;
  for (const std::optional<EvidenceRow>& run : seeds) {
    if (!run || !run->summary.failure.empty()) continue;
    runs.push_back(&*run);
    length = std::min(length, run->curve_loss_nats.size());
  }
  std::vector<PlotPoint> points;
  for (size_t i = 0; !runs.empty() && i < length; ++i) {
    PlotPoint point{};
    for (const EvidenceRow* run : runs) {
      const auto count = static_cast<double>(runs.size());
      const double x =
          by_clock ? run->curve_time_s[i] / 3600 : static_cast<double>(run->curve_tokens[i]) / 1e6;
      point.x += x / count;
      point.y += run->curve_loss_nats[i] / count;
    }
    points.push_back(point);
  }
  return points;
}

// A drawing that stands alone brings its style along.
std::string as_file(std::string svg) {
  const size_t name_end = svg.find(' '), tag_end = svg.find('>');
  svg.insert(tag_end + 1, cat("\n<style>", kReportStyle, "</style>"));
  svg.insert(name_end, " xmlns=\"http://www.w3.org/2000/svg\"");
  return svg + "\n";
}

}  // namespace

std::string draw_cell(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell,
                      const std::string& figure) {
  const bool by_clock = figure == "clock";
  LinePlot plot;
  plot.words = cat(experiment.title, ", ", experiment.cells[cell].label, ": validation loss by ",
                   by_clock ? "virtual time" : "tokens");
  plot.x.title = by_clock ? "virtual time, hours" : "training tokens, millions";
  plot.y.title = "validation loss, nats";
  double start = 0;
  for (size_t r = 0; r < experiment.rows.size(); ++r) {
    std::vector<PlotPoint> points = mean_curve(matrix.at(r, cell), by_clock);
    if (points.size() < 2) continue;  // a lone evaluation is no line
    start = std::max(start, points.front().y);
    plot.series.push_back({experiment.rows[r].label,
                           static_cast<int>(plot.series.size()) % kColours, std::move(points)});
  }
  if (plot.series.empty()) return "";
  plot.y.high = start;  // a run that goes up must not flatten the others
  return as_file(draw_lines(plot));
}

}  // namespace rubato
