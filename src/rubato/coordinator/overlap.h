// How a worker's communication overlaps with its training; a property of the whole run.
//
//   none    one task at a time: receive, train, send, and only then ask for the next
//   upload  asks when its local steps are done, so that it receives and trains while its delta
//           still travels
//   full    asks earlier by the time that asking and receiving take, so that the next parameters
//           are there when its local steps are done
//
// The price is staleness: the next task starts from parameters without the delta on its way.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rubato {

enum class Overlap : uint8_t { kNone, kUpload, kFull };

/// Tasks that one worker may have in flight where communication overlaps: the one whose delta
/// travels and the one that it trains or receives.
inline constexpr size_t kMostTasksInFlight = 2;

}  // namespace rubato
