// A pacer (pacer.h) that transfers on several threads share: they take turns, and whoever measures
// the control connection's round trip steers them.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "rubato/rpc/pacer.h"

namespace rubato {

class LinkPacer {
 public:
  /// `clock`: monotonic.
  explicit LinkPacer(std::function<Nanos()> clock) : clock_(std::move(clock)) {}

  /// A round trip of the control connection that ended `age` ago.
  void measured(Nanos round_trip, Nanos age = 0);
  /// [bytes] of the next piece, in whole blocks of `block_bytes`: one at least, and about
  /// `most_bytes` at most.
  int64_t piece_bytes(int64_t block_bytes, int64_t most_bytes) const;
  /// Blocks until `bytes` more may be sent.
  void wait_for_turn(int64_t bytes);

  /// Bulk travels, this way or the other, as long as the handle lives.
  using Travelling = std::shared_ptr<const void>;
  Travelling travelling();
  /// How often the round trip is to be measured now; nullopt while no bulk travels.
  std::optional<Nanos> interval() const;

 private:
  std::function<Nanos()> clock_;
  mutable std::mutex mutex_;
  Pacer pacer_;
  int travelling_ = 0;
  Nanos travelling_since_ = 0;
};

/// The same where nothing may have to be paced: as large as it gets.
int64_t piece_bytes(const LinkPacer* pacer, int64_t block_bytes, int64_t most_bytes);

}  // namespace rubato
