// What tells one build of this program from another in records: results are the same bits only
// under the same build.
#pragma once

#include <string>

namespace rubato {

/// Version and a digest of the running program's file: `0.1.0-3f2a90c1d4e5`.
std::string build_id();

}  // namespace rubato
