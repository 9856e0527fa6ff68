// Events and effects in words: what scenarios and `rubato replay --log` print.
#pragma once

#include <string>

#include "rubato/coordinator/events.h"

namespace rubato {

/// Seconds without trailing zeros, exact to the nanosecond: `11.6 s`.
std::string time_text(Nanos time);
/// One line: what happened to whom.
std::string event_text(const Event& event);
/// One line, every field that is not at its usual value.
std::string effect_text(const Effect& effect);
/// One line per effect, each ended by a newline.
std::string effects_text(const Effects& effects);

}  // namespace rubato
