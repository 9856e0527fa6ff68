// What a page asks of a run, as JSON. Rows are arrays: names would be most of the bytes. Times are
// whole microseconds, which a browser's numbers hold exactly for three hundred years.
#include <cmath>

#include <nlohmann/json.hpp>

#include "rubato/web/run_view.h"

namespace rubato {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMostWorkers = 256;   // in tables; the rest is one row
constexpr size_t kMostStaleness = 64;  // bars; the last one holds what lies beyond

int64_t micros(Nanos time) { return time / 1000; }

ordered_json loss(double nats) {
  if (!std::isfinite(nats)) return nullptr;
  return std::round(nats * 1e6) / 1e6;
}

std::string_view word_of(SpanKind kind) {
  switch (kind) {
    case SpanKind::kTrain:
      return "train";
    case SpanKind::kWait:
      return "wait";
    case SpanKind::kLost:
      return "lost";
    case SpanKind::kReceive:
      return "receive";
    case SpanKind::kSend:
      break;
  }
  return "send";
}

}  // namespace

void RunView::write_evals(int64_t moment, ordered_json& out) const {
  ordered_json rows = ordered_json::array();
  evals_.changed_since(moment, [&](size_t stretch, const EvalPoint& p) {
    rows.push_back({stretch, p.pretrain ? 0 : 1, p.steps, p.tokens, micros(p.time), micros(p.wall),
                    loss(p.loss_nats), loss(p.bits_per_byte)});
  });
  out["evals"] = {{"size", evals_.size()}, {"rows", std::move(rows)}};
}

void RunView::write_all(int64_t moment, ordered_json& out) const {
  write_evals(moment, out);
  ordered_json rows = ordered_json::array();
  training_.changed_since(moment, [&](size_t stretch, const TrainingPoint& p) {
    rows.push_back({stretch, p.steps, p.tokens, micros(p.time), loss(p.loss_nats)});
  });
  out["training"] = {{"size", training_.size()}, {"rows", std::move(rows)}};
  write_traffic(moment, out);
  write_lanes(moment, out);
  write_workers(out);
  write_staleness(out);
  write_happenings(moment, out);
}

void RunView::write_traffic(int64_t moment, ordered_json& out) const {
  ordered_json rows = ordered_json::array();
  traffic_.changed_since(moment, [&](size_t cell, const Traffic& t) {
    rows.push_back({cell, t.tokens, t.arrivals, t.rejected, t.bytes_up, t.bytes_down,
                    micros(t.train), micros(t.wait)});
  });
  out["traffic"] = {
      {"width_us", micros(traffic_.width())}, {"size", traffic_.size()}, {"rows", std::move(rows)}};
}

void RunView::write_lanes(int64_t moment, ordered_json& out) const {
  ordered_json lanes = ordered_json::array();
  for (size_t worker = 0; worker < lanes_.size(); ++worker) {
    const Lane& lane = lanes_[worker];
    ordered_json hours = ordered_json::array(), spans = ordered_json::array();
    lane.hours.changed_since(moment, [&](size_t cell, const Hours& h) {
      hours.push_back({cell, micros(h.train), micros(h.wait), micros(h.lost)});
    });
    for (const RecentSpan& recent : lane.recent) {
      if (recent.moment <= moment) continue;
      spans.push_back({word_of(recent.span.kind), micros(recent.span.begin_ns),
                       micros(recent.span.end_ns), recent.span.task.value()});
    }
    if (hours.empty() && spans.empty()) continue;
    lanes.push_back({{"worker", worker},
                     {"width_us", micros(lane.hours.width())},
                     {"size", lane.hours.size()},
                     {"hours", std::move(hours)},
                     {"kept", lane.recent.size()},
                     {"spans", std::move(spans)}});
  }
  out["lanes"] = std::move(lanes);
}

void RunView::write_workers(ordered_json& out) const {
  const std::vector<WorkerTotals> totals = contributions_.per_worker();
  ordered_json rows = ordered_json::array();
  WorkerTotals others;
  for (size_t i = 0; i < totals.size(); ++i) {
    const WorkerTotals& t = totals[i];
    if (i < kMostWorkers) {
      const bool has_lane = i < lanes_.size();
      rows.push_back({i, t.updates, t.steps, t.tokens, std::round(t.train_s * 1e3) / 1e3,
                      std::round(t.wait_s * 1e3) / 1e3, has_lane ? lanes_[i].rejected : 0,
                      has_lane ? lanes_[i].losses : 0});
    } else {
      others.tokens += t.tokens;
    }
  }
  out["workers"] = {
      {"count", totals.size()}, {"rows", std::move(rows)}, {"others_tokens", others.tokens}};
  out["totals"] = {{"arrivals", contributions_.arrivals()},
                   {"discarded", contributions_.discarded()},
                   {"rejected", contributions_.rejected()},
                   {"bytes_up", contributions_.bytes_up()},
                   {"bytes_down", contributions_.bytes_down()},
                   {"steps", steps_},
                   {"tokens", tokens_},
                   {"utilisation", loss(contributions_.utilisation())}};
}

void RunView::write_staleness(ordered_json& out) const {
  const std::vector<int64_t>& counts = contributions_.staleness_counts();
  ordered_json bars = ordered_json::array();
  int64_t beyond = 0;
  for (size_t s = 0; s < counts.size(); ++s) {
    if (s + 1 < kMostStaleness) {
      bars.push_back(counts[s]);
    } else {
      beyond += counts[s];
    }
  }
  if (counts.size() >= kMostStaleness) bars.push_back(beyond);
  out["staleness"] = {{"mean", loss(contributions_.staleness_mean())},
                      {"max", contributions_.staleness_max()},
                      {"counts", std::move(bars)}};
}

void RunView::write_happenings(int64_t moment, ordered_json& out) const {
  ordered_json rows = ordered_json::array();
  for (const std::deque<Happening>* list : {&events_, &troubles_}) {
    for (const Happening& h : *list) {
      if (h.moment > moment) rows.push_back({h.moment, micros(h.time), h.kind, h.text});
    }
  }
  out["events"] = std::move(rows);
}

}  // namespace rubato
