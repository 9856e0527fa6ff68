// What the journal of a cluster holds: one record an event, with the time at which the state
// machine took it. Together with the snapshot before them and the deltas in the spool the records
// determine everything; effects are not written, they follow.
#pragma once

#include <string>
#include <string_view>

#include "rubato/base/status.h"
#include "rubato/coordinator/events.h"

namespace rubato {

/// What is told about a finished task beside what decides: for people to read, and how its delta
/// is to be decoded.
struct UpdateNotes {
  double mean_loss = 0;       // [nats] over the task's steps
  double last_lr = 0;         // inner rate of its last step
  int64_t bytes_up = 0;       // [bytes] of the encoded delta
  int64_t bytes_down = 0;     // [bytes] of the parameters as the worker received them
  std::string codec;          // of the delta, as agreed with its worker; "": there are no bytes
  std::string codec_options;  // as DeltaMeta has them

  template <class A>
  void archive(A& a) {
    a(mean_loss, last_lr, bytes_up);
  }
  /// Behind the others; records of before codecs were agreed with each worker have none.
  template <class A>
  void archive_agreed(A& a) {
    a(bytes_down, codec, codec_options);
  }
};

struct LoggedEvent {
  Nanos now = 0;  // of the run's clock
  Event event;
  UpdateNotes notes;  // of an UpdateArrived
};

std::string to_bytes(const LoggedEvent& record);
/// DataLoss `[journal] ..` for bytes that to_bytes did not make.
StatusOr<LoggedEvent> logged_event_from(std::string_view bytes);

}  // namespace rubato
