// How fast bulk may be sent so that messages on another connection over the same link stay quick. A
// controller by delay: what the control connection's round trip is above the smallest one seen is
// taken for a queue, and bulk for what fills it.
//
//   start      the rate grows by half with every round trip; where a queue begins to show it goes
//   back one
//              step, and the second time at the same rate the start is over
//   queue      above kTarget twice in a row: rate = 0.9 * min(rate, what the link carried)
//              link carried = bytes sent between two round trips' departures
//                             / (time between them + growth of the queue)
//              and a pause until the queue is short
//   no queue   rate += 10 % a second, 40 % after a second without any; after five it starts again
//
// The rate grows only while it is used, so on a link that is faster than its ends it soon is no
// limit at all. Pure: times are arguments. Tested against a model of a link (pacer_test). Source:
// delay as the signal: LEDBAT, RFC 6817; what a link carried: BBR, ACM Queue 14(5), 2016.
#pragma once

#include <array>
#include <cstdint>
#include <deque>

#include "rubato/base/ids.h"

namespace rubato {

class Pacer {
 public:
  static constexpr Nanos kMillisecond = kNanosPerSecond / 1000;
  /// The queueing delay that bulk may cause for a moment.
  static constexpr Nanos kTarget = 60 * kMillisecond;

  /// A round trip on the control connection that ended `age` before `now`. Counts while something
  /// is sent.
  void measured(Nanos now, Nanos round_trip, Nanos age = 0);
  /// Books `bytes` to be sent; returns the time from which they may be.
  Nanos book(Nanos now, int64_t bytes);
  /// [bytes] that may be sent at once without being a queue themselves.
  int64_t piece_bytes() const;
  /// How often the round trip is to be measured while bulk travels.
  Nanos interval() const;

  double bytes_per_s() const { return rate_; }

 private:
  struct Trip {
    Nanos departed = 0, queue = 0;
    int64_t booked = 0;  // [bytes] that had been sent when it departed
  };
  Nanos queue_of(Nanos now, Nanos round_trip);
  int64_t booked_at(Nanos time);
  bool is_used(Nanos now) const;
  void start(Nanos now, const Trip& trip);
  void grow(Nanos now);
  void shrink(Nanos now, const Trip& trip);
  void decrease_to(Nanos now, double rate, const Trip& trip);
  void drain(Nanos now, const Trip& trip);

  double rate_ = 512 << 10;     // [bytes/s]
  double reference_ = 0;        // [bytes/s] after the last decrease; 0: starting
  double factor_ = 1.5;         // of every step of the start
  double ceiling_ = 0;          // [bytes/s] at which a queue showed in the start
  Nanos changed_ = 0;           // when the start made its last step
  int64_t changed_booked_ = 0;  // [bytes] booked by then
  Nanos next_ = 0;              // when what is booked will have left
  Nanos decreased_ = 0;         // when the rate was decreased last
  Nanos decreased_queue_ = 0;
  Nanos calm_since_ = 0;  // no queue was seen from here on
  Nanos measured_ = 0;    // when the last round trip ended
  int queued_ = 0;        // round trips in a row that showed a queue
  Trip last_, clear_;     // the last one, and the last one that showed none
  int64_t booked_ = 0;    // [bytes] in all
  std::deque<std::pair<Nanos, int64_t>> history_;  // when how many had been booked
  std::array<Nanos, 2> smallest_{};  // round trip of this period and the one before; 0: none
  Nanos period_began_ = 0;
};

}  // namespace rubato
