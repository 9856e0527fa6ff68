// How often one worker may do something that costs others: a bucket of tokens for each worker, that
// fills again with time. Thread-safe; time is an argument.
//   tokens = min(burst, tokens + passed / interval)
#pragma once

#include <map>
#include <mutex>

#include "rubato/base/ids.h"

namespace rubato {

/// `burst` at once, one more every `interval` [ns].
struct Rate {
  int64_t burst = 1;
  Nanos interval = kNanosPerSecond;
};

class RateLimit {
 public:
  explicit RateLimit(const Rate& rate) : rate_(rate) {}

  /// Takes a token at `now`; false when there is none. One map entry a worker, as the roster's.
  bool take(WorkerId worker, Nanos now);
  /// Whether there is one; takes nothing.
  bool has(WorkerId worker, Nanos now) const;

 private:
  // When the bucket will be full again; what is missing now is the time until then, in intervals.
  Nanos full_at(WorkerId worker, Nanos now) const;

  Rate rate_;
  mutable std::mutex mutex_;
  std::map<WorkerId, Nanos> full_at_;
};

}  // namespace rubato
