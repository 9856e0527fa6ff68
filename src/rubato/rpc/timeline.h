// When the events of a cluster happen. On the real clock they happen as they come. On the virtual
// clock durations are those the recipe declares, and time advances only when every earlier event
// has come: such a cluster makes the history that the simulator makes of the same recipe.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "rubato/coordinator/coordinator.h"
#include "rubato/rpc/logged_event.h"
#include "rubato/worker/worker_clock.h"

namespace rubato {

/// What became of an event, for whoever brought it: set once, when it is durable and its effects
/// are out.
class EventOutcome;

struct Incoming {
  Event event;
  UpdateNotes notes = {};                      // of an UpdateArrived
  std::shared_ptr<EventOutcome> outcome = {};  // may be null
  std::string why = {};                        // of a WorkerLost, for people
};

/// An event and when it happens.
struct TimedEvent {
  Nanos now = 0;
  Incoming incoming;
};

class Timeline {
 public:
  virtual ~Timeline() = default;
  /// Something has come from outside.
  virtual void add(Incoming incoming) = 0;
  /// Sees the effects of every step: dispatches and timers decide what comes next.
  virtual void follow(Nanos now, const Effects& effects) = 0;
  /// Takes all that happens by `clock` [ns of the run], in order; its effects are followed before
  /// the next call.
  virtual std::vector<TimedEvent> take(Nanos clock) = 0;
  /// The time to look again although nothing comes; nullopt: there is none.
  virtual std::optional<Nanos> next_look() const = 0;
  /// What has come and will never happen, since the last call.
  virtual std::vector<Incoming> take_hopeless() { return {}; }
  /// At the end: everything that has come and has not happened.
  virtual std::vector<Incoming> give_up() = 0;
};

/// The real clock. Training starts when `start_workers` have joined, unless it has already.
class RealTimeline final : public Timeline {
 public:
  RealTimeline(const Coordinator& coordinator, int64_t start_workers);
  void add(Incoming incoming) override { queue_.push_back(std::move(incoming)); }
  void follow(Nanos now, const Effects& effects) override;
  std::vector<TimedEvent> take(Nanos clock) override;
  std::optional<Nanos> next_look() const override;
  std::vector<Incoming> give_up() override;

 private:
  int64_t start_workers_;
  bool started_;
  std::set<WorkerId> joined_;  // before the start
  std::deque<Incoming> queue_;
  std::optional<SetTimer> timer_;  // the coordinator knows only its last one
};

/// A worker of the script; its id is its place.
struct ScriptedWorker {
  Nanos ns_per_step = kNanosPerSecond;
  Link link = {};
  Nanos join_at = 0;
  std::optional<Nanos> leave_at = {};   // lost in mid-task
  std::optional<Nanos> return_at = {};  // joins again with nothing; after leave_at
};

/// The virtual clock: same hours of a task and same order of one instant as the simulator's
/// (arrivals by worker, losses, joins, wishes, timers).
class VirtualTimeline final : public Timeline {
 public:
  /// Goes on from a restored coordinator whose clock stands at `now`; `payload` decides how long
  /// things travel. What queued on a link before a restart is forgotten: a scripted run with links
  /// equals the simulation only while its coordinator stays up.
  VirtualTimeline(const Coordinator& coordinator, std::vector<ScriptedWorker> script,
                  const Payload& payload, Nanos now);
  void add(Incoming incoming) override;
  void follow(Nanos now, const Effects& effects) override;
  std::vector<TimedEvent> take(Nanos clock) override;
  std::optional<Nanos> next_look() const override { return std::nullopt; }
  std::vector<Incoming> take_hopeless() override;
  std::vector<Incoming> give_up() override;

 private:
  enum class Kind : uint8_t { kArrival, kLeave, kJoin, kWish, kTimer };
  struct Pending {
    Nanos at = 0;
    Kind kind = Kind::kArrival;
    int64_t who = 0;  // worker id; timer id
    TaskId task;
    friend auto operator<=>(const Pending&, const Pending&) = default;
  };
  void expect_arrival(const Task& task);
  bool is_expected(TaskId task) const;
  std::optional<Incoming> incoming_of(const Pending& event);

  std::vector<ScriptedWorker> script_;
  std::vector<WorkerClock> clocks_;  // by worker
  Overlap overlap_;
  bool started_;
  std::set<Pending> pending_;
  std::map<TaskId, Incoming> arrived_;   // deltas that have come before their time
  std::map<WorkerId, Incoming> joined_;  // workers that wait for their entry
  std::vector<Incoming> hopeless_;       // deltas of tasks that the script took away
};

}  // namespace rubato
