// Messages on their way to one attending worker: put by the driver, taken by the thread that writes
// to the worker. Putting never waits; a worker that reads nothing for a long time is cut off.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "rubato/v1/control.pb.h"

namespace rubato {

class Mailbox {
 public:
  /// Dropped once the box is closed. More than kMostMessages unread ones close it.
  void put(v1::ToWorker message);
  /// Blocks until there is one; nullopt when the box is closed and empty.
  std::optional<v1::ToWorker> take();
  /// What is in it can still be taken.
  void close();
  bool closed() const;

  static constexpr size_t kMostMessages = 1024;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::ToWorker> messages_;
  bool closed_ = false;
};

}  // namespace rubato
