// A small pool of threads. Work is cut into pieces by the caller, never by the number of threads,
// so results do not depend on how many there are. Every thread of the pool flushes denormals.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace rubato {

class ThreadPool {
 public:
  /// threads >= 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(threads_.size()); }
  /// Runs `job` on a thread of the pool, first come first served.
  std::future<void> submit(std::function<void()> job);
  /// body(i) for every i in [0, count), on the pool's threads and the caller's; returns when all
  /// are done. Not to be called from inside a job of the same pool.
  void for_each(int64_t count, const std::function<void(int64_t)>& body);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::packaged_task<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace rubato
