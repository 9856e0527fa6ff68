#include "rubato/web/run_view.h"

#include <algorithm>
#include <limits>

#include "rubato/base/one_line.h"

namespace rubato {
namespace {

// A page is some thousand pixels wide; a lane of the timeline a few pixels high.
constexpr size_t kStretches = 400;
constexpr size_t kTrafficCells = 240;
constexpr size_t kLaneCells = 96;
constexpr size_t kRecentSpans = 64;
constexpr int64_t kLanes = 256;
constexpr size_t kHappenings = 100;  // of each kind

// Records that were damaged may hold anything.
int64_t sum(int64_t a, int64_t b) {
  int64_t out = 0;
  return __builtin_add_overflow(a, b, &out) ? std::numeric_limits<int64_t>::max() : out;
}

}  // namespace

void RunView::Traffic::add(const Traffic& other) {
  tokens = sum(tokens, other.tokens);
  arrivals += other.arrivals;
  rejected += other.rejected;
  bytes_up = sum(bytes_up, other.bytes_up);
  bytes_down = sum(bytes_down, other.bytes_down);
  train = sum(train, other.train);
  wait = sum(wait, other.wait);
}

void RunView::Hours::add(const Hours& other) {
  train = sum(train, other.train);
  wait = sum(wait, other.wait);
  lost = sum(lost, other.lost);
}

RunView::RunView() : evals_(kStretches), training_(kStretches), traffic_(kTrafficCells) {}

void RunView::add(const RecordLog& log) {
  for (const EvalRecord& record : log.evals) add(record);
  for (const UpdateRecord& record : log.updates) add(record);
  for (const TaskSpan& span : log.spans) add(span);
  for (const EventRecord& event : log.events) add(event);
}

void RunView::add(const EvalRecord& record) {
  ++records_;
  has_eval_ = true;
  last_eval_ = record;
  evals_.add({.pretrain = record.phase == RunPhase::kPretrain,
              .steps = record.local_steps,
              .tokens = record.tokens,
              .time = record.virtual_time_ns,
              .wall = record.wall_time_ns,
              .loss_nats = record.loss_nats,
              .bits_per_byte = record.bits_per_byte},
             records_);
}

void RunView::add(const UpdateRecord& record) {
  ++records_;
  contributions_.add(record);
  const bool rejected = record.has_verdict("rejected");
  traffic_.add(record.virtual_time_ns,
               {.tokens = rejected ? 0 : record.tokens,
                .arrivals = 1,
                .rejected = rejected ? 1 : 0,
                .bytes_up = record.bytes_up,
                .bytes_down = record.bytes_down},
               records_);
  if (rejected) {
    if (Lane* of = lane(record.worker)) ++of->rejected;
    note(troubles_, {records_, record.virtual_time_ns, "rejected",
                     cat("worker ", record.worker, ", task ", record.task, ": ", record.verdict)});
    return;
  }
  const int64_t sharing = std::clamp<int64_t>(record.workers, 1, kLanes);
  steps_ = sum(steps_, record.steps > std::numeric_limits<int64_t>::max() / sharing
                           ? 0
                           : record.steps * sharing);
  tokens_ = sum(tokens_, record.tokens);
  training_.add({.steps = steps_,
                 .tokens = tokens_,
                 .time = record.virtual_time_ns,
                 .loss_nats = record.train_loss_nats},
                records_);
}

void RunView::add(const TaskSpan& span) {
  ++records_;
  contributions_.add(span);
  const auto part_if = [&](SpanKind kind, Nanos part) { return span.kind == kind ? part : 0; };
  traffic_.spread(
      span.begin_ns, span.end_ns,
      [&](Nanos part) {
        return Traffic{.train = part_if(SpanKind::kTrain, part),
                       .wait = part_if(SpanKind::kWait, part)};
      },
      records_);
  Lane* of = lane(span.worker);
  if (span.kind == SpanKind::kLost) {
    if (of != nullptr) ++of->losses;
    note(troubles_, {records_, span.end_ns, "lost",
                     cat("worker ", span.worker, " was lost with task ", span.task)});
  }
  if (of == nullptr) return;
  of->hours.spread(
      span.begin_ns, span.end_ns,
      [&](Nanos part) {
        return Hours{.train = part_if(SpanKind::kTrain, part),
                     .wait = part_if(SpanKind::kWait, part),
                     .lost = part_if(SpanKind::kLost, part)};
      },
      records_);
  of->recent.push_back({span, records_});
  if (of->recent.size() > kRecentSpans) of->recent.pop_front();
}

void RunView::add(const EventRecord& event) {
  ++records_;
  note(events_, {records_, event.virtual_time_ns, "event", event.text});
}

RunView::Lane* RunView::lane(WorkerId worker) {
  if (worker.value() < 0 || worker.value() >= kLanes) return nullptr;
  const auto index = static_cast<size_t>(worker.value());
  while (lanes_.size() <= index) lanes_.push_back({TimeGrid<Hours>(kLaneCells), {}, 0, 0});
  return &lanes_[index];
}

void RunView::note(std::deque<Happening>& list, Happening happening) {
  happening.text = shortened(one_line(happening.text));
  list.push_back(std::move(happening));
  if (list.size() > kHappenings) list.pop_front();
}

}  // namespace rubato
