// The virtual clock of a fleet: which event comes next, and when. Whoever drives a coordinator on
// virtual time takes events from here and tells what the coordinator answered; a simulation trains
// between the two, a plan does not (sim/timing_run.h).
//
//   take() -> the driver makes an event of it -> Coordinator::step -> dispatch(), set_timer()
//
// Events of one instant go arrivals by worker id, then losses, joins, wishes for one more task,
// timers, then dispatches. Memory: one entry a task on its way, a wish or a timer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rubato/coordinator/events.h"
#include "rubato/worker/worker_clock.h"

namespace rubato {

/// One simulated worker; its id is its place in the fleet.
struct SimWorker {
  Nanos ns_per_step = kNanosPerSecond;
  Nanos join_at = 0;
  std::optional<Nanos> leave_at = {};   // lost in mid-task, with its inner state
  std::optional<Nanos> return_at = {};  // joins again, with nothing; after leave_at
  Link link = {};
};

class Clockwork {
 public:
  enum class Kind : uint8_t { kArrival, kLeave, kJoin, kWish, kTimer };
  /// What happens next, in the order in which it does.
  struct Entry {
    Nanos at = 0;
    Kind kind = Kind::kArrival;
    int64_t who = 0;  // worker id; timer id
    TaskId task;      // that arrives; behind which one more is wanted
    friend auto operator<=>(const Entry&, const Entry&) = default;
    template <class A>
    void archive(A& a) {
      a(at, kind, who, task);
    }
  };

  Clockwork() = default;
  /// Everybody's joins, losses and returns are ahead; `payload` travels for each task.
  Clockwork(std::span<const SimWorker> fleet, Overlap overlap, const Payload& payload);

  bool empty() const { return queue_.empty(); }
  /// The next entry; not empty().
  const Entry& next() const { return queue_.front(); }
  Entry take();
  /// The event of an entry that says all there is to say: any but an arrival.
  Event event_of(const Entry& entry) const;
  /// `task` was dispatched at `now`: its arrival, and where communication overlaps its worker's
  /// wish for one more, are ahead.
  TaskTimes dispatch(const Task& task, Nanos now);
  void set_timer(const SetTimer& timer) { push({timer.at, Kind::kTimer, timer.timer, TaskId()}); }
  /// A worker is gone with all that it has on its way: the tasks that will not arrive, by id.
  std::vector<TaskId> lose(WorkerId worker);
  /// Tasks whose delta is still to come, in any order.
  std::vector<TaskId> tasks_to_arrive() const;

  template <class A>
  void archive_queue(A& a) {
    std::ranges::sort(queue_);  // a heap, too
    a(queue_);
    std::ranges::make_heap(queue_, std::greater());
  }
  template <class A>
  void archive_clocks(A& a) {
    for (WorkerClock& clock : clocks_) clock.archive(a);
  }

 private:
  void push(const Entry& entry);

  std::vector<Entry> queue_;         // a heap, the next one in front
  std::vector<WorkerClock> clocks_;  // by worker
  std::vector<Nanos> ns_per_step_;   // by worker
};

}  // namespace rubato
