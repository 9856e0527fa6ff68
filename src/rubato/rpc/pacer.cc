#include "rubato/rpc/pacer.h"

#include <algorithm>

namespace rubato {
namespace {

constexpr Nanos kMs = Pacer::kMillisecond;
constexpr double kDecrease = 0.9, kLeastShare = 0.5;
constexpr double kIncrease = 0.1, kCalmIncrease = 0.4;  // a second
constexpr double kLaterFactor = 1.25;
constexpr Nanos kGlimpse = 5 * kMs;  // of a queue, seen twice in a row
// A step of the start lasts so long at least, and until so much was sent: a token bucket lets a
// burst pass before a queue shows.
constexpr Nanos kStep = 15 * kMs;
constexpr int64_t kStepBytes = 64 << 10;
constexpr Nanos kCalm = kNanosPerSecond, kLongCalm = 5 * kNanosPerSecond;
constexpr double kLeastRate = 16 << 10, kMostRate = 1e12;  // [bytes/s]

// Bytes sent at once take so long, within these bounds.
constexpr Nanos kPiece = 4 * kMs;
constexpr int64_t kLeastPiece = 2 << 10, kMostPiece = 1 << 20;  // [bytes]

// Who wakes up late may catch up so much.
constexpr Nanos kCredit = 10 * kMs;

constexpr Nanos kLongestDrain = kNanosPerSecond, kShortQueue = 15 * kMs;

// A route may change: the smallest round trip is that of this period and the one before.
constexpr Nanos kPeriod = 60 * kNanosPerSecond;

// What was booked is remembered so finely and so long.
constexpr Nanos kGrain = kMs, kMemory = 4 * kNanosPerSecond;

}  // namespace

Nanos Pacer::queue_of(Nanos now, Nanos round_trip) {
  if (now - period_began_ > kPeriod) {
    smallest_ = {0, smallest_[0]};
    period_began_ = now;
  }
  if (smallest_[0] == 0 || round_trip < smallest_[0]) smallest_[0] = round_trip;
  const Nanos base = smallest_[1] == 0 ? smallest_[0] : std::min(smallest_[0], smallest_[1]);
  return round_trip - base;
}

int64_t Pacer::booked_at(Nanos time) {
  const auto after =
      std::ranges::upper_bound(history_, time, {}, &std::pair<Nanos, int64_t>::first);
  return after == history_.begin() ? (history_.empty() ? booked_ : 0) : std::prev(after)->second;
}

void Pacer::measured(Nanos now, Nanos round_trip, Nanos age) {
  const Nanos departed = now - age - round_trip;
  const Trip trip{departed, queue_of(now, round_trip), booked_at(departed)};
  const bool sends = next_ > measured_;
  queued_ = trip.queue > kTarget ? queued_ + 1 : 0;
  if (trip.queue <= kTarget) clear_ = trip;
  if (sends && queued_ >= 2) {
    shrink(now, trip);
  } else if (sends && reference_ == 0) {
    start(now, trip);
  } else if (sends && queued_ == 0) {
    grow(now);
  }
  if (!sends || std::min(trip.queue, last_.queue) > kGlimpse) calm_since_ = now;
  last_ = trip;
  measured_ = now;
}

// A step up, or the last one back where a queue shows; the same ceiling twice is one.
void Pacer::start(Nanos now, const Trip& trip) {
  // A round trip says something about the last step when it departed well after it.
  if (trip.departed < changed_ + kStep || trip.booked < changed_booked_ + kStepBytes) return;
  if (trip.queue > kGlimpse && last_.queue <= kGlimpse) return;
  if (trip.queue <= kGlimpse) {
    if (!is_used(now)) return;
    rate_ = std::min(rate_ * factor_, kMostRate);
  } else {
    const bool again = rate_ <= ceiling_;
    ceiling_ = rate_;
    rate_ = std::max(rate_ / factor_, kLeastRate);
    if (again) {
      decrease_to(now, rate_, trip);
    } else {
      drain(now, trip);
    }
  }
  changed_ = now;
  changed_booked_ = booked_;
}

bool Pacer::is_used(Nanos now) const {
  return next_ > now - std::max(now - measured_, 2 * kCredit);
}

void Pacer::grow(Nanos now) {
  if (!is_used(now)) return;
  const double increase = now - calm_since_ < kCalm ? kIncrease : kCalmIncrease;
  rate_ += increase * rate_ * to_seconds(std::min(now - measured_, kNanosPerSecond));
  rate_ = std::min(rate_, kMostRate);
  if (now - calm_since_ < kLongCalm) return;
  reference_ = 0;
  ceiling_ = 0;
  changed_ = now;
  changed_booked_ = booked_;
}

void Pacer::shrink(Nanos now, const Trip& trip) {
  const bool is_seen = trip.departed > decreased_;
  const bool drains = trip.queue < decreased_queue_ && trip.queue < last_.queue;
  if (reference_ > 0 && (!is_seen || drains)) return;
  // Of two round trips the shorter: either may have waited for something else.
  const Nanos queue = std::min(trip.queue, last_.queue);
  const Nanos took = trip.departed - clear_.departed + queue - clear_.queue;
  const double carried =
      static_cast<double>(trip.booked - clear_.booked) / to_seconds(std::max(took, kGrain));
  // A round trip that only came late says that nothing was carried.
  decrease_to(now, kDecrease * std::clamp(carried, kLeastShare * rate_, rate_), trip);
}

// Waits until what was sent since the trip departed has left the link, all but a short queue.
void Pacer::drain(Nanos now, const Trip& trip) {
  const auto since = static_cast<double>(booked_ - trip.booked);
  const Nanos queue = std::min(trip.queue, last_.queue) + static_cast<Nanos>(since / rate_ * 1e9) -
                      (now - trip.departed);
  next_ = std::max(next_, now + std::min(queue, kLongestDrain) - kShortQueue);
}

void Pacer::decrease_to(Nanos now, double rate, const Trip& trip) {
  rate_ = reference_ = std::max(rate, kLeastRate);
  factor_ = kLaterFactor;
  decreased_ = now;
  decreased_queue_ = trip.queue;
  drain(now, trip);
}

Nanos Pacer::book(Nanos now, int64_t bytes) {
  const Nanos start = std::max(now - kCredit, next_);
  next_ = start + static_cast<Nanos>(static_cast<double>(bytes) / rate_ * 1e9);
  booked_ += bytes;
  const Nanos leaves = std::max(start, now);
  if (history_.empty() || leaves - history_.back().first > kGrain) {
    history_.emplace_back(leaves, booked_);
    while (leaves - history_.front().first > kMemory) history_.pop_front();
  } else {
    history_.back().second = booked_;
  }
  return start;
}

int64_t Pacer::piece_bytes() const {
  return std::clamp(static_cast<int64_t>(rate_ * to_seconds(kPiece)), kLeastPiece, kMostPiece);
}

Nanos Pacer::interval() const {
  return reference_ > 0 || smallest_[0] > 25 * kMs ? 25 * kMs : 5 * kMs;
}

}  // namespace rubato
