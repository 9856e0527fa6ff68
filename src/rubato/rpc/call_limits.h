// What one peer may occupy of a server whose calls take a thread each: so many calls at a time, and
// each of them only as long as it makes progress.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "rubato/base/ids.h"
#include "rubato/base/status.h"

namespace rubato {

/// Counts calls under way, by caller. Thread-safe; outlives its permits.
class CallGate {
 public:
  explicit CallGate(int most) : most_(most) {}

  /// One call; gives its place back.
  class Permit {
   public:
    Permit(CallGate& gate, WorkerId worker) : gate_(&gate), worker_(worker) {}
    Permit(Permit&& other) noexcept
        : gate_(std::exchange(other.gate_, nullptr)), worker_(other.worker_) {}
    Permit& operator=(Permit&&) = delete;
    ~Permit();

   private:
    CallGate* gate_;
    WorkerId worker_;
  };
  /// ResourceExhausted `[calls] ..` when the worker has as many as it may.
  StatusOr<Permit> enter(WorkerId worker);

 private:
  const int most_;
  std::mutex mutex_;
  std::map<WorkerId, int> calls_;  // that are under way; none: no entry
};

/// Ends what makes no progress. A thread of its own looks every `tick` [ns]; it counts ticks, so a
/// machine that stands still ends nothing.
class StallWatch {
 public:
  explicit StallWatch(Nanos tick);
  ~StallWatch();

  /// While it lives, `end` is called once, on the watch's thread, when no progress was told for
  /// about `limit` [ns]. `end` must not wait.
  class Guard {
   public:
    Guard(StallWatch& watch, Nanos limit, std::function<void()> end);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    void progress() { idle_ticks_ = 0; }

   private:
    friend class StallWatch;
    StallWatch& watch_;
    const int64_t most_ticks_;
    std::function<void()> end_;
    std::atomic<int64_t> idle_ticks_{0};
    bool ended_ = false;
    std::list<Guard*>::iterator place_;
  };

 private:
  void look();

  const Nanos tick_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Guard*> guards_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace rubato
