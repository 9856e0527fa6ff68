// What follows from a run's updates and spans: staleness, who contributed what, and how much of
// the workers' time went into training. Also the two figures that compare runs: the time until a
// loss is reached, and the threshold that "reaching sync's loss" means.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rubato/metrics/record.h"

namespace rubato {

/// Accumulates records in any order; all sums are integers until they are read. Its memory grows
/// with the number of workers and the largest staleness, not with the records.
class Contributions {
 public:
  void add(const UpdateRecord& record);
  /// A lost task's time counts as neither training nor waiting, and travel lies beside both.
  void add(const TaskSpan& span);

  int64_t arrivals() const { return arrivals_; }
  int64_t discarded() const { return discarded_; }
  int64_t rejected() const { return rejected_; }
  /// [bytes] of all arrivals.
  int64_t bytes_down() const { return bytes_down_; }
  int64_t bytes_up() const { return bytes_up_; }
  /// [versions] over arrivals that were not rejected; 0 without any.
  double staleness_mean() const;
  int64_t staleness_max() const;
  /// Element s counts the arrivals of staleness s that were not rejected.
  const std::vector<int64_t>& staleness_counts() const { return staleness_counts_; }
  /// By worker id, from 0 to the largest one seen.
  std::vector<WorkerTotals> per_worker() const;
  /// Training time / (training + waiting time) over all workers; 0 before the first span.
  double utilisation() const;
  /// Steps, tokens, versions and virtual time up to the last arrival, for runs without an
  /// evaluation, which tells them otherwise.
  void fill_progress(RunSummary& summary) const;

 private:
  struct Worker {
    int64_t updates = 0, steps = 0, tokens = 0;
    Nanos train_ns = 0, wait_ns = 0;
  };
  Worker& worker(WorkerId id);

  int64_t arrivals_ = 0, discarded_ = 0, rejected_ = 0, bytes_down_ = 0, bytes_up_ = 0;
  int64_t steps_ = 0, tokens_ = 0, newest_version_ = 0;  // steps, tokens: not of rejected ones
  Nanos newest_ns_ = 0;
  std::vector<int64_t> staleness_counts_;
  std::vector<Worker> workers_;
};

/// Contributions, and where the training loss ended: 16 bytes an arrival.
class RunStatistics : public Contributions {
 public:
  using Contributions::add;
  void add(const UpdateRecord& record);

  /// Mean train loss of the last tenth of the arrivals that were not rejected (at least one),
  /// weighted by tokens; NaN without any.
  double final_train_loss_nats() const;

  /// Writes all of the above into `summary`.
  void fill(RunSummary& summary) const;

 private:
  struct Loss {
    double nats;
    int64_t tokens;
  };
  struct Mean {  // of the figures that are finite
    double sum = 0;
    int64_t count = 0;
    void add(double value);
    double get() const;  // NaN without any
  };
  std::vector<Loss> losses_;
  Mean delta_norm_, step_norm_, momentum_cosine_, aligned_gain_;
};

/// [s] virtual time of the first evaluation of the training phase at or below `threshold_nats`;
/// absent when there is none.
std::optional<double> time_to_loss(std::span<const EvalRecord> evals, double threshold_nats);

/// What counts as having reached sync DiLoCo's final loss: that loss + 0.005 nats.
inline constexpr double kSyncLossSlackNats = 0.005;

}  // namespace rubato
