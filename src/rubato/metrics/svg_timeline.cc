#include "rubato/metrics/svg_timeline.h"

#include <algorithm>

#include "rubato/metrics/format.h"
#include "rubato/metrics/svg.h"
#include "rubato/metrics/ticks.h"

namespace rubato {
namespace {

constexpr double kWidth = 1060, kLeft = 84, kRight = 84, kTop = 26, kLane = 24, kBlock = 19;
constexpr double kTravel = 3;  // height of what travels, drawn over the lane
// Narrower than this a border would hide the block.
constexpr double kBorderFrom = 4;

struct TimeAxis {
  Nanos begin, end;
  double operator()(Nanos t) const {
    const Nanos inside = std::clamp(t, begin, end);
    return kLeft + to_seconds(inside - begin) / to_seconds(end - begin) * (kWidth - kLeft - kRight);
  }
};

const char* activity(SpanKind kind) {
  switch (kind) {
    case SpanKind::kTrain:
      return "training";
    case SpanKind::kWait:
      return "waiting";
    case SpanKind::kReceive:
      return "receiving";
    case SpanKind::kSend:
      return "sending";
    case SpanKind::kLost:
      break;
  }
  return "lost";
}

bool travels(SpanKind kind) { return kind == SpanKind::kReceive || kind == SpanKind::kSend; }

void draw_span(Svg& svg, const TimeAxis& x, const TaskSpan& span, double top, int colour) {
  if (span.end_ns <= x.begin || span.begin_ns >= x.end || span.end_ns <= span.begin_ns) return;
  const double left = x(span.begin_ns), width = x(span.end_ns) - left;
  double height = kBlock;
  std::string css_class;
  if (span.kind == SpanKind::kTrain) {
    css_class = cat("block c", colour, width < kBorderFrom ? " thin" : "");
  } else if (travels(span.kind)) {
    css_class = span.kind == SpanKind::kSend ? "send" : "receive";
    if (span.kind == SpanKind::kSend) top += kBlock - kTravel;
    height = kTravel;
  } else {
    css_class = span.kind == SpanKind::kWait ? "wait" : "lost";
  }
  svg.rect(
      left, top, width, height, css_class,
      cat("task ", span.task, ", shard ", span.shard, ": ", activity(span.kind), " ",
          fixed(to_seconds(span.begin_ns), 1), " - ", fixed(to_seconds(span.end_ns), 1), " s"));
}

}  // namespace

std::string draw_timeline(const Timeline& timeline) {
  RUBATO_CHECK(timeline.end_ns > timeline.begin_ns);
  const double bottom = kTop + kLane * static_cast<double>(timeline.lanes.size());
  Svg svg(kWidth, bottom + 24, timeline.words, "wide timeline");
  const TimeAxis x{timeline.begin_ns, timeline.end_ns};
  svg.text(kLeft, 16, timeline.title, TextAnchor::kStart, cat("label c", timeline.colour));
  svg.text(kWidth - 2, 16, timeline.note_title, TextAnchor::kEnd, "note");
  double top = kTop;
  for (const TimelineLane& lane : timeline.lanes) {
    svg.text(kLeft - 8, top + kBlock / 2 + 5, lane.label, TextAnchor::kEnd, "tick");
    svg.rect(kLeft, top, kWidth - kLeft - kRight, kBlock, "lane");
    for (const bool over : {false, true}) {
      for (const TaskSpan& span : lane.spans) {
        if (travels(span.kind) == over) draw_span(svg, x, span, top, timeline.colour);
      }
    }
    svg.text(kWidth - 2, top + kBlock / 2 + 5, lane.note, TextAnchor::kEnd, "tick strong");
    top += kLane;
  }
  const std::vector<double> ticks =
      linear_ticks(to_seconds(timeline.begin_ns), to_seconds(timeline.end_ns), 10);
  const std::vector<std::string> labels = tick_labels(ticks);
  for (size_t i = 0; i < ticks.size(); ++i) {
    const double at = x(from_seconds(ticks[i]));
    svg.line(at, bottom - 2, at, bottom + 3, "axis");
    svg.text(at, bottom + 17, cat(labels[i], i + 1 == ticks.size() ? " s" : ""),
             TextAnchor::kMiddle, "tick");
  }
  return std::move(svg).finish();
}

}  // namespace rubato
