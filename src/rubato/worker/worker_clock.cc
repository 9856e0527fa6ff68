#include "rubato/worker/worker_clock.h"

#include <algorithm>

namespace rubato {

WorkerClock::WorkerClock(const Link& link, Nanos ns_per_step, Overlap overlap,
                         const Payload& payload)
    : latency_(link.latency),
      ns_per_step_(ns_per_step),
      download_(busy_time(payload.down_bytes, link.down_bytes_per_s)),
      upload_(busy_time(payload.up_bytes, link.up_bytes_per_s)),
      overlap_(overlap) {}

TaskTimes WorkerClock::plan(Nanos now, int64_t steps) {
  TaskTimes times;
  times.dispatched = now;
  times.receives = std::max(now, down_free_);
  down_free_ = times.receives + download_;
  times.received = down_free_ + latency_;
  times.begins = std::max(times.received, steps_free_);
  steps_free_ = times.ends = times.begins + steps * ns_per_step_;
  times.sends = std::max(times.ends, up_free_);
  up_free_ = times.sends + upload_;
  times.arrives = up_free_ + latency_;
  times.asks = times.arrives;
  if (overlap_ == Overlap::kUpload) times.asks = times.ends + latency_;
  if (overlap_ == Overlap::kFull) {
    // From asking to having: the wish there, the parameters back. Not before it has begun, so that
    // it never asks while it still receives.
    const Nanos lead = 2 * latency_ + download_;
    times.asks = std::max(times.ends - lead, times.begins) + latency_;
  }
  return times;
}

}  // namespace rubato
