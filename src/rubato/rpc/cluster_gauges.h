// What a live cluster measures about itself since its process began, for status and metrics.
// Nothing decides on it. Any thread.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>

#include "rubato/base/ids.h"
#include "rubato/rpc/rate_window.h"

namespace rubato {

struct ClusterGauges {
  std::atomic<int64_t> received_bytes{0}, sent_bytes{0};
  std::atomic<int64_t> journal_syncs{0};
  std::atomic<Nanos> journal_sync_ns{0};
  std::atomic<Nanos> last_round{0};  // [ns] of the run's clock: when the driver's loop began it

  struct Evaluation {
    double loss_nats = 0;
    int64_t local_steps = 0;
  };
  mutable std::mutex mutex;  // of what follows
  std::optional<Evaluation> evaluation;
  RateWindow steps;
};

}  // namespace rubato
