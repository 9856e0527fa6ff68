// A worker's side of the control connection: it attends, beats, comes back after a cut, and keeps
// the list of tasks that are its own. Training goes on meanwhile; a cut costs nothing but the wait
// for the next task.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "rubato/base/ids.h"
#include "rubato/rpc/coordinator_link.h"
#include "rubato/rpc/link_pacer.h"
#include "rubato/rpc/notice.h"

namespace rubato {

/// What a worker's parts share.
struct WorkerEnvironment {
  std::function<Nanos()> clock;  // monotonic
  NoticeSink note;
  const std::atomic<bool>* stop = nullptr;     // a graceful end is asked for; may be null
  Nanos patience = 3600 * kNanosPerSecond;     // without the coordinator, before it gives up
  std::shared_ptr<LinkPacer> pacer = nullptr;  // of bulk; null: it goes as fast as it can
};

/// Whether the same call may succeed later.
bool is_worth_another_try(const Status& status);

/// Repeats `attempt` while nobody answers, until the patience ends or a stop is asked for: its last
/// status. Says once that it tries on.
Status until_answered(const WorkerEnvironment& environment, const std::function<Status()>& attempt);

/// Growing pauses between tries: 0.25 s, doubled up to 8 s.
class Backoff {
 public:
  Nanos next();
  void reset() { pause_ = kFirst; }

 private:
  static constexpr Nanos kFirst = kNanosPerSecond / 4;
  Nanos pause_ = kFirst;
};

class Attendance {
 public:
  /// `hello` without has_state and held_tasks. Link and environment outlive it.
  Attendance(CoordinatorLink& link, v1::Hello hello, Nanos heartbeat_interval,
             const WorkerEnvironment& environment);
  /// Ends the session at once; leave() first for a graceful end.
  ~Attendance();

  /// The first welcome; an error when the coordinator refuses, or nobody answers for as long as the
  /// patience lasts.
  StatusOr<v1::Welcome> wait_for_welcome();
  /// The next task, when there is one. Nullopt when there will be none, or a stop was asked for:
  /// end() says why.
  std::optional<v1::Task> next_task();
  /// The same without waiting.
  std::optional<v1::Task> take_task();
  /// One more task behind that one, please; dropped between two sessions.
  void want(int64_t behind);
  /// False when the coordinator gave the task to somebody else or wants no more.
  bool is_wanted(int64_t task) const;
  /// The task's delta was answered, or the task was given up.
  void forget(int64_t task);
  /// What the next heartbeats tell.
  void report(int64_t task, int64_t steps_done);
  void set_has_state() { has_state_ = true; }
  /// Says goodbye: unfinished data goes back in line at once.
  void leave(const std::string& reason);

  /// OK while it goes on and after the run's end; otherwise why there is no more work.
  Status end() const;
  bool ended() const;
  /// [ns] of the last heartbeat's way there and back; 0 before the first.
  Nanos round_trip() const { return round_trip_; }

 private:
  enum class Hold { kQueued, kTaken, kUnwanted };
  void attend_until_ended();
  StatusOr<std::shared_ptr<ControlStream>> open_stream();
  void take(const v1::ToWorker& message);
  void welcome(const v1::Welcome& message);
  void release(const v1::Release& message);
  void answered(const v1::HeartbeatAck& message);
  void beat();
  Nanos beat_interval() const;
  void enqueue(const v1::Task& task);
  std::optional<v1::Task> take_first();
  void send(const v1::FromWorker& message);
  void finish_with(Status status);

  CoordinatorLink& link_;
  v1::Hello hello_;
  Nanos heartbeat_interval_;
  const WorkerEnvironment& environment_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<ControlStream> stream_;  // null between two sessions
  std::optional<v1::Welcome> welcome_;     // the latest
  std::deque<v1::Task> queue_;
  std::map<int64_t, Hold> held_;
  bool ended_ = false, stopping_ = false;
  Status end_;
  std::atomic<bool> has_state_{false};
  std::atomic<int64_t> task_{-1}, steps_done_{0};
  std::atomic<Nanos> round_trip_{0};
  Nanos untold_round_trip_ = 0, round_trip_ended_ = 0;  // under the mutex; 0: none that is new
  std::thread reader_, heart_;
};

}  // namespace rubato
