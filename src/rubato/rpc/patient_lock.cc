#include "rubato/rpc/patient_lock.h"

#include <chrono>
#include <thread>

namespace rubato {

StatusOr<DirectoryLock> lock_patiently(FileSystem& files, const std::string& directory,
                                       int64_t patience_ms) {
  constexpr int64_t kPauseMs = 10;
  for (int64_t waited_ms = 0;; waited_ms += kPauseMs) {
    auto lock = files.lock_directory(directory);
    if (lock.ok() || !absl::IsFailedPrecondition(lock.status())) return lock;
    if (waited_ms >= patience_ms)
      return absl::UnavailableError(cat("[file] ", directory,
                                        ": got a lock that another process has ", "held for ",
                                        patience_ms, " ms, want it for a moment"));
    std::this_thread::sleep_for(std::chrono::milliseconds(kPauseMs));
  }
}

}  // namespace rubato
