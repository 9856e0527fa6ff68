// The controller against a model of a link: a queue in front of a fixed rate, dropped behind a
// limit as tbf does, and a ping at the controller's own interval.
#include "rubato/rpc/pacer.h"

#include <algorithm>
#include <deque>
#include <vector>

#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr Nanos kMs = Pacer::kMillisecond;

struct Link {
  double bytes_per_s = 1.25e6;
  Nanos round_trip = kMs;            // of an empty link
  Nanos longest = 400 * kMs;         // of the queue
  Nanos jitter = 0;                  // every seventh ping takes so much longer
  double sender_bytes_per_s = 1e12;  // that the sender's own machine can
};

struct Result {
  double share = 0;            // of the link, or of the sender
  Nanos p99 = 0, longest = 0;  // round trip
};

Result run(Pacer& pacer, const Link& link, Nanos from, Nanos time) {
  double queue = 0, sent = 0, sender_free = 0;  // [bytes], [bytes], [ns]
  Nanos last = from, next_ping = from;
  std::deque<std::pair<Nanos, Nanos>> pongs;  // when, how long
  std::vector<Nanos> trips;
  Nanos may_send = from;
  int64_t piece = 0;
  int pings = 0;
  for (Nanos now = from; now < from + time; now += kMs / 10) {
    queue = std::max(0.0, queue - link.bytes_per_s * static_cast<double>(now - last) * 1e-9);
    last = now;
    while (!pongs.empty() && pongs.front().first <= now) {
      pacer.measured(now, pongs.front().second);
      trips.push_back(pongs.front().second);
      pongs.pop_front();
    }
    if (now >= next_ping) {
      const auto waits = static_cast<Nanos>(queue / link.bytes_per_s * 1e9);
      const Nanos trip = link.round_trip + waits + (++pings % 7 == 0 ? link.jitter : 0);
      pongs.emplace_back(std::max(now + trip, pongs.empty() ? 0 : pongs.back().first), trip);
      next_ping = now + pacer.interval();
    }
    while (may_send <= now && sender_free <= static_cast<double>(now)) {
      if (piece > 0) {
        const bool fits = queue / link.bytes_per_s * 1e9 < static_cast<double>(link.longest);
        if (fits) queue += static_cast<double>(piece), sent += static_cast<double>(piece);
        sender_free = std::max(sender_free, static_cast<double>(now - kMs)) +
                      static_cast<double>(piece) / link.sender_bytes_per_s * 1e9;
      }
      piece = pacer.piece_bytes();
      may_send = pacer.book(now, piece);
    }
  }
  std::ranges::sort(trips);
  const double most = std::min(link.bytes_per_s, link.sender_bytes_per_s);
  return {(sent - queue) / (most * static_cast<double>(time) * 1e-9),
          trips[trips.size() * 99 / 100], trips.back()};
}

TEST(Pacer, FillsASlowLinkAndKeepsItQuick) {
  for (const double mbit : {1.0, 10.0, 100.0, 1000.0}) {
    for (const Nanos trip : {kMs / 5, 20 * kMs, 150 * kMs}) {
      SCOPED_TRACE(testing::Message() << mbit << " Mbit/s, " << trip / kMs << " ms");
      Pacer pacer;
      const Link link{.bytes_per_s = mbit * 1e6 / 8, .round_trip = trip};
      const Result start = run(pacer, link, 0, 3 * kNanosPerSecond);
      EXPECT_LT(start.longest, 2 * trip + 420 * kMs);
      const Result result = run(pacer, link, 3 * kNanosPerSecond, 60 * kNanosPerSecond);
      EXPECT_GT(result.share, 0.85);
      EXPECT_LT(result.p99, trip + 130 * kMs);
    }
  }
}

TEST(Pacer, IsNoLimitWhereTheLinkIsNone) {
  Pacer pacer;
  const Link link{.bytes_per_s = 1e11, .round_trip = kMs / 5, .sender_bytes_per_s = 1e9};
  // The start takes two thirds of a second, and nothing is left of it afterwards.
  EXPECT_GT(run(pacer, link, 0, kNanosPerSecond).share, 0.33);
  EXPECT_GT(run(pacer, link, kNanosPerSecond, kNanosPerSecond).share, 0.98);
}

TEST(Pacer, ToleratesJitter) {
  Pacer pacer;
  const Link link{.round_trip = 5 * kMs, .jitter = 80 * kMs};
  EXPECT_GT(run(pacer, link, 0, 60 * kNanosPerSecond).share, 0.65);
}

TEST(Pacer, FollowsALinkThatChanges) {
  Pacer pacer;
  Link link;
  run(pacer, link, 0, 20 * kNanosPerSecond);
  link.bytes_per_s /= 4;
  run(pacer, link, 20 * kNanosPerSecond, 5 * kNanosPerSecond);
  const Result slower = run(pacer, link, 25 * kNanosPerSecond, 20 * kNanosPerSecond);
  EXPECT_GT(slower.share, 0.85);
  EXPECT_LT(slower.p99, 150 * kMs);
  link.bytes_per_s *= 16;
  run(pacer, link, 45 * kNanosPerSecond, 20 * kNanosPerSecond);
  EXPECT_GT(run(pacer, link, 65 * kNanosPerSecond, 20 * kNanosPerSecond).share, 0.85);
}

TEST(Pacer, GrowsOnlyWhileItIsUsed) {
  Pacer pacer;
  const double before = pacer.bytes_per_s();
  for (Nanos now = 0; now < 10 * kNanosPerSecond; now += 50 * kMs) pacer.measured(now, kMs);
  EXPECT_EQ(pacer.bytes_per_s(), before);
}

}  // namespace
}  // namespace rubato
