// Text scenarios: a script of events with the coordinator's effects printed below each.
//
//   file     = { comment | setting | event }     effects are the indented lines, written by us
//   comment  = "#" words
//   setting  = "set" { key "=" value }           before the first event; keys in scenario.cc
//   event    = seconds what
//   what     = "join" worker seconds-per-step ["state"] | "lose" worker | "start" | "timer" number
//            | "want" worker task                one more task behind that one
//            | "pause" | "resume" | "rollback"
//            | "arrive" worker task { key "=" value }      keys: steps tokens norm train finite
//            | "ledger" | "counts"               no events: print the sums
#pragma once

#include <string>
#include <string_view>

#include "rubato/base/status.h"

namespace rubato {

/// The script with its effects as they are now; InvalidArgument `[scenario] line N: ..` when it
/// cannot be read.
StatusOr<std::string> play_scenario(std::string_view script);

}  // namespace rubato
