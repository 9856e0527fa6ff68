#include "rubato/rpc/link_pacer.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace rubato {
namespace {

constexpr Nanos kBeginning = kNanosPerSecond, kBeginningInterval = kNanosPerSecond / 200;

}  // namespace

void LinkPacer::measured(Nanos round_trip, Nanos age) {
  const std::lock_guard lock(mutex_);
  pacer_.measured(clock_(), round_trip, age);
}

int64_t LinkPacer::piece_bytes(int64_t block_bytes, int64_t most_bytes) const {
  const std::lock_guard lock(mutex_);
  const int64_t bytes = std::min(pacer_.piece_bytes(), most_bytes);
  return std::max<int64_t>(bytes / block_bytes, 1) * block_bytes;
}

void LinkPacer::wait_for_turn(int64_t bytes) {
  Nanos wait = 0;
  {
    const std::lock_guard lock(mutex_);
    const Nanos now = clock_();
    wait = pacer_.book(now, bytes) - now;
  }
  if (wait > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(wait));
}

LinkPacer::Travelling LinkPacer::travelling() {
  const std::lock_guard lock(mutex_);
  if (travelling_++ == 0) travelling_since_ = clock_();
  return {this, [this](const void*) {
            const std::lock_guard ending(mutex_);
            --travelling_;
          }};
}

std::optional<Nanos> LinkPacer::interval() const {
  const std::lock_guard lock(mutex_);
  if (travelling_ == 0) return std::nullopt;
  // Whoever sends from the other side may be at its start.
  const bool begins = clock_() - travelling_since_ < kBeginning;
  return begins ? std::min(pacer_.interval(), kBeginningInterval) : pacer_.interval();
}

int64_t piece_bytes(const LinkPacer* pacer, int64_t block_bytes, int64_t most_bytes) {
  if (pacer != nullptr) return pacer->piece_bytes(block_bytes, most_bytes);
  return std::max<int64_t>(most_bytes / block_bytes, 1) * block_bytes;
}

}  // namespace rubato
