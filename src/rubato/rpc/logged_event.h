// What the journal of a cluster holds: one record an event, with the time at which the state
// machine took it. Together with the snapshot before them and the deltas in the spool the records
// determine everything; effects are not written, they follow.
#pragma once

#include <string>
#include <string_view>

#include "rubato/base/status.h"
#include "rubato/coordinator/events.h"

namespace rubato {

/// What a worker tells about a finished task for people to read; nothing decides on it.
struct UpdateNotes {
  double mean_loss = 0;  // [nats] over the task's steps
  double last_lr = 0;    // inner rate of its last step
  int64_t bytes_up = 0;  // [bytes] of the encoded delta

  template <class A>
  void archive(A& a) {
    a(mean_loss, last_lr, bytes_up);
  }
};

struct LoggedEvent {
  Nanos now = 0;  // of the run's clock
  Event event;
  UpdateNotes notes;  // of an UpdateArrived
};

/// Changes with the meaning of a record; the journal's header carries it.
inline constexpr int kLoggedEventVersion = 1;

std::string to_bytes(const LoggedEvent& record);
/// DataLoss `[journal] ..` for bytes that to_bytes did not make.
StatusOr<LoggedEvent> logged_event_from(std::string_view bytes);

}  // namespace rubato
