#include "rubato/rpc/rate_limit.h"

#include <algorithm>

namespace rubato {

Nanos RateLimit::full_at(WorkerId worker, Nanos now) const {
  const auto it = full_at_.find(worker);
  return it == full_at_.end() ? now : std::max(it->second, now);
}

bool RateLimit::has(WorkerId worker, Nanos now) const {
  const std::lock_guard lock(mutex_);
  return full_at(worker, now) - now <= (rate_.burst - 1) * rate_.interval;
}

bool RateLimit::take(WorkerId worker, Nanos now) {
  const std::lock_guard lock(mutex_);
  const Nanos full = full_at(worker, now);
  if (full - now > (rate_.burst - 1) * rate_.interval) return false;
  full_at_[worker] = full + rate_.interval;
  return true;
}

}  // namespace rubato
