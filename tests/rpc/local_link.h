// The coordinator in the same process: a worker's calls go straight to the reception. No sockets,
// so ThreadSanitizer sees every thread there is.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "rubato/rpc/coordinator_link.h"
#include "rubato/rpc/reception.h"

namespace rubato {

/// `reception` outlives the link and its streams. Every push takes `push_delay` on its way, and
/// each hello passes `edit_hello`.
std::unique_ptr<CoordinatorLink> make_local_link(Reception& reception, WorkerId worker,
                                                 std::chrono::milliseconds push_delay = {},
                                                 std::function<void(v1::Hello&)> edit_hello = {});

}  // namespace rubato
