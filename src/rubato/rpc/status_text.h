// The state of a live coordinator for programs and for people.
#pragma once

#include <string>
#include <string_view>

#include "rubato/v1/admin.pb.h"

namespace rubato {

/// training | waiting | absent | lost
std::string_view worker_state_text(v1::WorkerStatus::State state);

/// One JSON object in one line; docs/operating.md names its keys. What is absent is null.
std::string status_json(const v1::StatusReply& status);
/// A few lines and a table of the workers, with a newline at the end.
std::string status_text(const v1::StatusReply& status);

}  // namespace rubato
