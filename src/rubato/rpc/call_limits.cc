#include "rubato/rpc/call_limits.h"

#include <algorithm>
#include <chrono>

namespace rubato {

StatusOr<CallGate::Permit> CallGate::enter(WorkerId worker) {
  const std::lock_guard lock(mutex_);
  int& calls = calls_[worker];
  if (calls >= most_) {
    return absl::ResourceExhaustedError(cat("[calls] got more than ", most_,
                                            " calls of one caller at a time, want fewer; try "
                                            "again later"));
  }
  ++calls;
  return Permit(*this, worker);
}

CallGate::Permit::~Permit() {
  if (gate_ == nullptr) return;  // moved from
  const std::lock_guard lock(gate_->mutex_);
  const auto it = gate_->calls_.find(worker_);
  if (--it->second == 0) gate_->calls_.erase(it);
}

StallWatch::StallWatch(Nanos tick) : tick_(tick) {
  thread_ = std::thread([this] { look(); });
}

StallWatch::~StallWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void StallWatch::look() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, std::chrono::nanoseconds(tick_), [&] { return stopping_; })) {
    for (Guard* guard : guards_) {
      if (++guard->idle_ticks_ <= guard->most_ticks_ || guard->ended_) continue;
      guard->ended_ = true;
      guard->end_();
    }
  }
}

StallWatch::Guard::Guard(StallWatch& watch, Nanos limit, std::function<void()> end)
    : watch_(watch), most_ticks_(std::max<int64_t>(limit / watch.tick_, 1)), end_(std::move(end)) {
  const std::lock_guard lock(watch_.mutex_);
  place_ = watch_.guards_.insert(watch_.guards_.end(), this);
}

StallWatch::Guard::~Guard() {
  const std::lock_guard lock(watch_.mutex_);
  watch_.guards_.erase(place_);
}

}  // namespace rubato
