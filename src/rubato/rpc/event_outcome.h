// What became of an event, for the thread that brought it and waits.
#pragma once

#include <future>
#include <memory>

#include "rubato/base/status.h"
#include "rubato/coordinator/door.h"

namespace rubato {

/// The coordinator's answer to a delta.
struct UpdateVerdict {
  enum class Kind { kApplied, kDiscarded, kRejected };
  Kind kind = Kind::kApplied;  // kApplied: now or with its group; also one that was applied before
  RejectReason reason{};       // of kRejected
};

/// Set once by the driver, when the event is durable and its effects are out. An outcome that is
/// dropped unset answers Unavailable: the coordinator went down.
class EventOutcome {
 public:
  void set(const StatusOr<UpdateVerdict>& verdict) { promise_.set_value(verdict); }
  /// Blocks; once.
  StatusOr<UpdateVerdict> wait() { return future_.get(); }

 private:
  std::promise<StatusOr<UpdateVerdict>> promise_;
  std::future<StatusOr<UpdateVerdict>> future_ = promise_.get_future();
};

}  // namespace rubato
