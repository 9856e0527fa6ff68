// Work in a process of its own, for what cannot be measured beside other work: the memory of a
// server, or a library that must not live on both sides of a fork. The two share a board.
#pragma once

#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include <sys/types.h>

#include "rubato/base/status.h"

namespace rubato {

/// [bytes] of zeros that this process and its children see alike; null when there are none.
std::shared_ptr<void> share_memory(size_t bytes);

/// A `Board` that children share; it holds nothing that points elsewhere.
template <class Board>
StatusOr<std::shared_ptr<Board>> make_board() {
  static_assert(std::is_trivially_destructible_v<Board>);
  std::shared_ptr<void> memory = share_memory(sizeof(Board));
  if (!memory) return absl::ResourceExhaustedError("[bench] got no memory to share");
  return std::shared_ptr<Board>(memory, new (memory.get()) Board());
}

class ForkedProcess {
 public:
  /// Nothing of this process but its memory is in the child: no threads.
  static StatusOr<ForkedProcess> start(const std::function<void()>& work);
  ForkedProcess(ForkedProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  ForkedProcess& operator=(ForkedProcess&&) = delete;
  /// Killed if it still runs.
  ~ForkedProcess();

  pid_t pid() const { return pid_; }
  /// Whether it ran to its end.
  bool wait();

 private:
  explicit ForkedProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

/// [bytes] of memory that belong to the process alone, so neither files nor what is shared; 0 when
/// it is gone.
int64_t private_memory_bytes(pid_t pid);

/// [ns] that all threads of a process have computed, the system's work for them included.
int64_t cpu_ns(pid_t pid);

}  // namespace rubato
