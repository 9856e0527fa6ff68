// Events and effects in words: what the scenarios print and what two runs are compared by.
#pragma once

#include <string>

#include "rubato/coordinator/events.h"

namespace rubato {

/// Seconds without trailing zeros, exact to the nanosecond: `11.6 s`.
std::string time_text(Nanos time);
/// One line, every field that is not at its usual value.
std::string effect_text(const Effect& effect);
/// One line per effect, each ended by a newline.
std::string effects_text(const Effects& effects);

}  // namespace rubato
