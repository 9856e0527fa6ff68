#include "rubato/metrics/report_plots.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "rubato/metrics/format.h"
#include "rubato/metrics/run_statistics.h"
#include "rubato/metrics/svg_bars.h"
#include "rubato/metrics/svg_plot.h"
#include "rubato/metrics/svg_timeline.h"

namespace rubato {
namespace {

constexpr size_t kMaxLanes = 16;        // workers a timeline shows
constexpr double kTimelineTasks = 2.6;  // its length in longest tasks: two to three rounds

bool is_pretrained(const ReportRun& run) { return run.data->summary.method == "pretrained"; }

/// Evaluations as points; of the training phase where there are any.
template <class XOf>
std::vector<PlotPoint> loss_points(const RunData& run, const XOf& x_of) {
  const auto in_training = [](const EvalRecord& e) { return e.phase == RunPhase::kTrain; };
  const bool trained = std::any_of(run.log.evals.begin(), run.log.evals.end(), in_training);
  std::vector<PlotPoint> points;
  for (const EvalRecord& eval : run.log.evals) {
    if (in_training(eval) == trained) points.push_back({x_of(eval), eval.loss_nats});
  }
  return points;
}

double tokens_of(const EvalRecord& eval) { return static_cast<double>(eval.tokens); }
double seconds_of(const EvalRecord& eval) { return to_seconds(eval.virtual_time_ns); }

/// The top of the loss axis: all of the curves, unless their first part, or one run that diverges,
/// would flatten the rest.
std::optional<double> loss_top(const std::vector<PlotSeries>& series) {
  std::vector<double> losses;
  for (const PlotSeries& s : series) {
    for (const PlotPoint& p : s.points) {
      if (std::isfinite(p.y)) losses.push_back(p.y);
    }
  }
  if (losses.size() < 4) return std::nullopt;
  std::sort(losses.begin(), losses.end());
  const double low = losses.front(), spread = losses[losses.size() / 2] - low;
  if (!(spread > 0) || losses.back() <= low + 12 * spread) return std::nullopt;
  return low + 8 * spread;
}

PlotSeries series_of(const ReportRun& run, std::vector<PlotPoint> points) {
  return {run.leads_family ? run.family : "", run.colour, std::move(points)};
}

/// One series a run; the pretrained model, a single evaluation, becomes a guide.
template <class XOf>
LinePlot loss_plot(const std::vector<ReportRun>& runs, const XOf& x_of) {
  LinePlot plot;
  const bool alone = runs.size() == 1;
  for (const ReportRun& run : runs) {
    std::vector<PlotPoint> points = loss_points(*run.data, x_of);
    if (is_pretrained(run) && !alone) {
      if (run.leads_family && std::isfinite(run.data->summary.val_loss_nats)) {
        plot.guides.push_back({run.data->summary.val_loss_nats, run.family});
      }
    } else if (!points.empty()) {
      plot.series.push_back(series_of(run, std::move(points)));
    }
  }
  plot.x.low = 0;
  plot.y.title = "validation loss (nats)";
  plot.y.high = loss_top(plot.series);
  std::erase_if(plot.guides, [&](const PlotGuide& g) { return plot.y.high && g.y > *plot.y.high; });
  return plot;
}

/// The curve's value at x by linear interpolation; NaN outside.
double value_at(const std::vector<PlotPoint>& points, double x) {
  for (size_t i = 1; i < points.size(); ++i) {
    if (points[i - 1].x <= x && x <= points[i].x && points[i].x > points[i - 1].x) {
      const double share = (x - points[i - 1].x) / (points[i].x - points[i - 1].x);
      return points[i - 1].y + share * (points[i].y - points[i - 1].y);
    }
  }
  return std::nan("");
}

std::map<int64_t, std::vector<TaskSpan>> spans_by_worker(const RunData& run) {
  std::map<int64_t, std::vector<TaskSpan>> lanes;
  for (const TaskSpan& span : run.log.spans) lanes[span.worker.value()].push_back(span);
  return lanes;
}

RunStatistics statistics_of(const RunData& run) {
  RunStatistics statistics;
  for (const UpdateRecord& update : run.log.updates) statistics.add(update);
  for (const TaskSpan& span : run.log.spans) statistics.add(span);
  return statistics;
}

}  // namespace

std::string loss_against_tokens(const std::vector<ReportRun>& runs) {
  LinePlot plot = loss_plot(runs, tokens_of);
  if (plot.series.empty()) return "";
  plot.words = "Validation loss against training tokens, one line per method";
  plot.x.title = "training tokens, all workers together";
  return draw_lines(plot);
}

std::string training_loss_against_tokens(const std::vector<ReportRun>& runs) {
  constexpr size_t kStretches = 100;
  LinePlot plot;
  for (const ReportRun& run : runs) {
    std::vector<PlotPoint> points;
    double tokens = 0, sum = 0, weight = 0;
    const auto& updates = run.data->log.updates;
    const size_t stretch = std::max<size_t>((updates.size() + kStretches - 1) / kStretches, 1);
    for (size_t i = 0; i < updates.size(); ++i) {
      const UpdateRecord& update = updates[i];
      const auto count = static_cast<double>(update.tokens);
      if (!update.has_verdict("rejected") && std::isfinite(update.train_loss_nats)) {
        tokens += count;
        sum += update.train_loss_nats * count;
        weight += count;
      }
      if (((i + 1) % stretch == 0 || i + 1 == updates.size()) && weight > 0) {
        points.push_back({tokens, sum / weight});
        sum = weight = 0;
      }
    }
    if (!points.empty()) plot.series.push_back(series_of(run, std::move(points)));
  }
  if (plot.series.empty()) return "";
  plot.words = "Training loss against training tokens, one line per method";
  plot.x = {"training tokens, all workers together", false, 0, std::nullopt};
  plot.y.title = "training loss (nats)";
  plot.y.high = loss_top(plot.series);
  return draw_lines(plot);
}

std::string gap_against_tokens(const std::vector<ReportRun>& runs) {
  LinePlot plot;
  for (const ReportRun& run : runs) {
    if (run.sync == nullptr || run.sync == run.data || is_pretrained(run)) continue;
    const std::vector<PlotPoint> reference = loss_points(*run.sync, tokens_of);
    std::vector<PlotPoint> points;
    for (const PlotPoint& p : loss_points(*run.data, tokens_of)) {
      const double at_sync = value_at(reference, p.x);
      if (std::isfinite(at_sync)) points.push_back({p.x, p.y - at_sync});
    }
    if (!points.empty()) plot.series.push_back(series_of(run, std::move(points)));
  }
  if (plot.series.empty()) return "";
  plot.guides.push_back({0, "sync-diloco"});
  plot.words = "Validation loss minus that of sync-diloco at the same number of tokens";
  plot.x.title = "training tokens, all workers together";
  plot.y.title = "loss minus sync-diloco's (nats)";
  return draw_lines(plot);
}

std::string loss_against_time(const std::vector<ReportRun>& runs) {
  std::vector<ReportRun> timed = runs;
  std::erase_if(timed, [&](const ReportRun& run) {
    const std::vector<PlotPoint> points = loss_points(*run.data, seconds_of);
    return runs.size() > 1 && !is_pretrained(run) &&
           std::none_of(points.begin(), points.end(), [](const PlotPoint& p) { return p.x > 0; });
  });
  LinePlot plot = loss_plot(timed, seconds_of);
  if (plot.series.empty()) return "";
  for (const ReportRun& run : timed) {
    if (run.sync == nullptr || is_pretrained(run)) continue;
    const double threshold = run.sync->summary.val_loss_nats + kSyncLossSlackNats;
    for (const EvalRecord& eval : run.data->log.evals) {
      if (eval.phase != RunPhase::kTrain || !(eval.loss_nats <= threshold)) continue;
      plot.marks.push_back({{seconds_of(eval), eval.loss_nats},
                            run.colour,
                            run.leads_family ? cat(fixed(seconds_of(eval), 0), " s") : ""});
      break;
    }
  }
  plot.words = "Validation loss against virtual time, one line per method";
  plot.x.title = "virtual time (s)";
  return draw_lines(plot);
}

std::string timelines(const std::vector<ReportRun>& runs) {
  Nanos begin = std::numeric_limits<Nanos>::max(), longest = 0;
  for (const ReportRun& run : runs) {
    for (const TaskSpan& span : run.data->log.spans) {
      begin = std::min(begin, span.begin_ns);
      if (span.kind == SpanKind::kTrain) longest = std::max(longest, span.end_ns - span.begin_ns);
    }
  }
  if (longest == 0) return "";
  std::string out;
  for (const ReportRun& run : runs) {
    const auto lanes = spans_by_worker(*run.data);
    if (lanes.empty() || !run.leads_family) continue;
    const RunStatistics statistics = statistics_of(*run.data);
    const std::vector<WorkerTotals> totals = statistics.per_worker();
    Timeline timeline;
    timeline.words = cat("Timeline of tasks of ", run.label, ", one lane per worker");
    timeline.title = run.label;
    timeline.note_title = cat("waiting ", fixed(100 * (1 - statistics.utilisation()), 0), " %");
    timeline.colour = run.colour;
    timeline.begin_ns = begin;
    timeline.end_ns = begin + from_seconds(kTimelineTasks * to_seconds(longest));
    for (const auto& [worker, spans] : lanes) {
      if (timeline.lanes.size() == kMaxLanes) break;
      const double share = totals.at(static_cast<size_t>(worker)).wait_share();
      timeline.lanes.push_back({cat("worker ", worker), cat(fixed(100 * share, 0), " %"), spans});
    }
    if (lanes.size() > kMaxLanes) {
      timeline.title += cat(" (the first ", kMaxLanes, " of ", lanes.size(), " workers)");
    }
    out += draw_timeline(timeline);
  }
  return out;
}

std::string staleness_histograms(const std::vector<ReportRun>& runs) {
  size_t bins = 1;
  for (const ReportRun& run : runs) {
    bins = std::max(bins, statistics_of(*run.data).staleness_counts().size());
  }
  std::string out;
  for (const ReportRun& run : runs) {
    const RunStatistics statistics = statistics_of(*run.data);
    if (statistics.staleness_counts().empty() || !run.leads_family) continue;
    out += draw_histogram({cat("Staleness of the updates of ", run.label), run.label,
                           "staleness (versions)", run.colour, statistics.staleness_counts(), bins,
                           statistics.staleness_mean()});
  }
  return out;
}

std::string worker_shares(const std::vector<ReportRun>& runs) {
  StackedBars bars{"Share of the local steps that each worker did", "worker", {}};
  for (const ReportRun& run : runs) {
    std::vector<double> steps;
    for (const WorkerTotals& worker : run.data->summary.per_worker) {
      steps.push_back(static_cast<double>(worker.steps));
    }
    if (run.leads_family &&
        std::any_of(steps.begin(), steps.end(), [](double s) { return s > 0; })) {
      bars.bars.push_back({run.label, run.colour, std::move(steps)});
    }
  }
  return bars.bars.empty() ? "" : draw_stacked_bars(bars);
}

}  // namespace rubato
