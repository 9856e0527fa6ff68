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

/// Travels with the event. Set once by the driver, when the event is durable and its effects are
/// out; one that is dropped unset answers Unavailable, so that nobody waits for ever.
class EventOutcome {
 public:
  EventOutcome() = default;
  EventOutcome(const EventOutcome&) = delete;
  EventOutcome& operator=(const EventOutcome&) = delete;
  ~EventOutcome() {
    if (set_) return;
    promise_.set_value(absl::UnavailableError(
        "[cluster] the event was dropped: a newer one of its task took its place, or the "
        "coordinator goes down; try again"));
  }
  /// What its bringer waits on; once, before the event is handed over.
  std::future<StatusOr<UpdateVerdict>> verdict() { return promise_.get_future(); }
  void set(const StatusOr<UpdateVerdict>& verdict) {
    set_ = true;
    promise_.set_value(verdict);
  }

 private:
  bool set_ = false;
  std::promise<StatusOr<UpdateVerdict>> promise_;
};

}  // namespace rubato
