// Locks that are held for moments: a second process that changes the same files waits for its turn
// instead of failing.
#pragma once

#include <cstdint>
#include <string>

#include "rubato/store/file_system.h"

namespace rubato {

/// How long to wait for a lock that another process holds. It sleeps and reads no clock.
inline constexpr int64_t kLockPatienceMs = 3000;

/// lock_directory, tried again until `patience_ms` have passed. Unavailable when somebody holds it
/// all that time.
StatusOr<DirectoryLock> lock_patiently(FileSystem& files, const std::string& directory,
                                       int64_t patience_ms = kLockPatienceMs);

}  // namespace rubato
