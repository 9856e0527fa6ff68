#include "rubato/base/parallel.h"

#include <atomic>

#include "rubato/base/float_env.h"
#include "rubato/base/status.h"

namespace rubato {

ThreadPool::ThreadPool(int threads) {
  RUBATO_CHECK(threads >= 1);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::future<void> ThreadPool::submit(std::function<void()> job) {
  std::packaged_task<void()> task(std::move(job));
  std::future<void> done = task.get_future();
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(task));
  }
  wake_.notify_one();
  return done;
}

void ThreadPool::for_each(int64_t count, const std::function<void(int64_t)>& body) {
  flush_denormals();
  std::atomic<int64_t> next{0};
  const auto drain = [&] {
    for (int64_t i = next++; i < count; i = next++) body(i);
  };
  std::vector<std::future<void>> helpers;
  for (int64_t i = 1; i < std::min<int64_t>(count, threads()); ++i)
    helpers.push_back(submit(drain));
  drain();
  for (std::future<void>& helper : helpers) helper.get();
}

void ThreadPool::run() {
  flush_denormals();
  for (;;) {
    std::packaged_task<void()> task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

}  // namespace rubato
