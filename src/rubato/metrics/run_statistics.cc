#include "rubato/metrics/run_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rubato {
namespace {

// Far above any fleet; keeps a corrupt record from asking for all memory.
constexpr int64_t kMaxSharing = 1'000'000;

/// a + b and a - b, held at the ends of their range: records that were damaged may hold anything.
int64_t sum(int64_t a, int64_t b) {
  int64_t out = 0;
  if (!__builtin_add_overflow(a, b, &out)) return out;
  return b > 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
}
int64_t difference(int64_t a, int64_t b) {
  int64_t out = 0;
  if (!__builtin_sub_overflow(a, b, &out)) return out;
  return b < 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
}

}  // namespace

Contributions::Worker& Contributions::worker(WorkerId id) {
  RUBATO_CHECK(id.value() >= 0, "worker ", id);
  const auto index = static_cast<size_t>(id.value());
  if (index >= workers_.size()) workers_.resize(index + 1);
  return workers_[index];
}

void Contributions::add(const UpdateRecord& record) {
  ++arrivals_;
  bytes_down_ = sum(bytes_down_, record.bytes_down);
  bytes_up_ = sum(bytes_up_, record.bytes_up);
  newest_version_ = std::max(newest_version_, record.version.value());
  newest_ns_ = std::max(newest_ns_, record.virtual_time_ns);
  if (record.has_verdict("rejected")) {
    ++rejected_;
    return;
  }
  if (record.has_verdict("discarded")) ++discarded_;
  // In k x batch one arrival is the work of all: its steps are everybody's, its tokens are shared.
  const int64_t sharing = std::clamp<int64_t>(record.workers, 1, kMaxSharing);
  for (int64_t i = 0; i < sharing; ++i) {
    Worker& from = worker(WorkerId(record.worker.value() + i));
    ++from.updates;
    steps_ = sum(steps_, record.steps);
    from.steps = sum(from.steps, record.steps);
    from.tokens = sum(from.tokens, record.tokens / sharing + (i < record.tokens % sharing ? 1 : 0));
  }
  tokens_ = sum(tokens_, record.tokens);
  const auto staleness = static_cast<size_t>(std::max<int64_t>(record.staleness, 0));
  if (staleness >= staleness_counts_.size()) staleness_counts_.resize(staleness + 1);
  ++staleness_counts_[staleness];
}

void Contributions::add(const TaskSpan& span) {
  Worker& of = worker(span.worker);
  const Nanos length = difference(span.end_ns, span.begin_ns);
  if (span.kind == SpanKind::kTrain) of.train_ns = sum(of.train_ns, length);
  if (span.kind == SpanKind::kWait) of.wait_ns = sum(of.wait_ns, length);
}

double Contributions::staleness_mean() const {
  int64_t count = 0, sum = 0;
  for (size_t s = 0; s < staleness_counts_.size(); ++s) {
    count += staleness_counts_[s];
    sum += static_cast<int64_t>(s) * staleness_counts_[s];
  }
  return count == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(count);
}

int64_t Contributions::staleness_max() const {
  return std::max<int64_t>(static_cast<int64_t>(staleness_counts_.size()) - 1, 0);
}

std::vector<WorkerTotals> Contributions::per_worker() const {
  std::vector<WorkerTotals> totals;
  for (const Worker& w : workers_) {
    totals.push_back({w.updates, w.steps, w.tokens, to_seconds(w.train_ns), to_seconds(w.wait_ns)});
  }
  return totals;
}

double Contributions::utilisation() const {
  Nanos train = 0, wait = 0;
  for (const Worker& w : workers_) {
    train = sum(train, w.train_ns);
    wait = sum(wait, w.wait_ns);
  }
  const Nanos all = sum(train, wait);
  return all > 0 ? to_seconds(train) / to_seconds(all) : 0;
}

void RunStatistics::Mean::add(double value) {
  if (!std::isfinite(value)) return;
  sum += value;
  ++count;
}

double RunStatistics::Mean::get() const {
  return count == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(count);
}

void RunStatistics::add(const UpdateRecord& record) {
  Contributions::add(record);
  if (record.has_verdict("rejected")) return;
  losses_.push_back({record.train_loss_nats, record.tokens});
  delta_norm_.add(record.delta_norm);
  step_norm_.add(record.step_norm);
  momentum_cosine_.add(record.momentum_cosine);
  aligned_gain_.add(record.aligned_gain);
}

double RunStatistics::final_train_loss_nats() const {
  const size_t last = std::max<size_t>((losses_.size() + 9) / 10, 1);
  double sum = 0, tokens = 0;
  for (size_t i = losses_.size() - std::min(last, losses_.size()); i < losses_.size(); ++i) {
    sum += losses_[i].nats * static_cast<double>(losses_[i].tokens);
    tokens += static_cast<double>(losses_[i].tokens);
  }
  return tokens > 0 ? sum / tokens : std::numeric_limits<double>::quiet_NaN();
}

void RunStatistics::fill(RunSummary& summary) const {
  summary.arrivals = arrivals();
  summary.discarded = discarded();
  summary.rejected = rejected();
  summary.bytes_down = bytes_down();
  summary.bytes_up = bytes_up();
  summary.staleness_mean = staleness_mean();
  summary.staleness_max = staleness_max();
  summary.staleness_counts = staleness_counts();
  summary.utilisation = utilisation();
  summary.delta_norm_mean = delta_norm_.get();
  summary.step_norm_mean = step_norm_.get();
  summary.momentum_cosine_mean = momentum_cosine_.get();
  summary.aligned_gain_mean = aligned_gain_.get();
  summary.final_train_loss_nats = final_train_loss_nats();
  summary.per_worker = per_worker();
}

void Contributions::fill_progress(RunSummary& summary) const {
  summary.local_steps = steps_;
  summary.tokens = tokens_;
  summary.server_updates = newest_version_;
  summary.virtual_time_s = to_seconds(newest_ns_);
}

std::optional<double> time_to_loss(std::span<const EvalRecord> evals, double threshold_nats) {
  for (const EvalRecord& eval : evals) {
    if (eval.phase == RunPhase::kTrain && eval.loss_nats <= threshold_nats) {
      return to_seconds(eval.virtual_time_ns);
    }
  }
  return std::nullopt;
}

}  // namespace rubato
