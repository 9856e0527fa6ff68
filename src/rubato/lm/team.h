// A persistent team of threads: the caller and its helpers run one body side by side and meet at
// its end. Every member flushes denormals and calls GEMM single-threaded. A team of one is the
// caller alone. Waiting spins for some microseconds, then sleeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

#include "rubato/base/status.h"

namespace rubato {

class Team {
 public:
  /// `size` members, size - 1 threads. ResourceExhausted when the system has no more threads.
  static StatusOr<std::unique_ptr<Team>> make(int size);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(helpers_.size()) + 1; }
  /// body(member) for members [0, min(count, size())), member 0 on the caller's thread; returns
  /// when all are done. Sets the caller's thread to flush denormals.
  void run(int count, absl::FunctionRef<void(int)> body);

 private:
  Team() = default;
  void help(int member);

  std::atomic<uint32_t> round_{0};      // a change wakes the helpers
  std::atomic<int32_t> unfinished_{0};  // helpers still at work in this round
  bool stopping_ = false;
  int count_ = 0;
  const absl::FunctionRef<void(int)>* body_ = nullptr;
  std::vector<std::thread> helpers_;
};

}  // namespace rubato
