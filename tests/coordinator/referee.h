// A referee that watches a coordinator from outside: it sees events and effects and keeps a book of
// its own, one entry for every single sequence of every epoch, so that ranges, deques and counters
// of the real ledger meet something naive. It knows the rules of the specification, not the code.
//
//   ledger    every sequence has one fate; it is applied at most once in an epoch; sums agree
//   door      the verdict is the one the event deserves
//   progress  n_i, t and visits of a shard, seen through the sampler's choice and lr_first
//   versions  staleness, moves_theta, group weights
//   workers   at most one task each, two where communication overlaps and the worker asked for the
//             second; nobody who waits does so longer than the gate allows, and a grace window is
//             not closed before its time
//   quorum    a group has its quorum, unless the budget is spent or a pause ends
//   pause     nobody gets a task; behind it whoever waits does at once, unless a round is out
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/coordinator/rig.h"

namespace rubato {

class Referee {
 public:
  explicit Referee(const Rig& rig);

  /// Takes note of one step of the coordinator and compares; the first contradiction in words, or
  /// "". `thorough` compares every epoch instead of the touched ones.
  std::string watch(Nanos now, const Event& event, const Effects& effects,
                    const Coordinator& coordinator, bool thorough);

  int64_t max_rejects() const { return max_rejects_; }
  /// Tasks that were dispatched to a worker with another one in flight.
  int64_t second_tasks() const { return second_tasks_; }

 private:
  enum class Fate : uint8_t { kUnissued, kAssigned, kApplied, kReturned, kDiscarded, kQuarantined };
  struct Sequence {
    Fate fate = Fate::kUnissued;
    int8_t rejects = 0;
    int64_t task = -1;  // who has it, or gave it back and may still deliver it
  };
  struct Epoch {
    std::vector<Sequence> sequences;
    FateCounts counts;
  };
  struct Shard {
    int64_t size = 0, assigned = 0, visits = 0, steps = 0;
    std::vector<Epoch> epochs;
    FateCounts counts;
  };
  enum class State : uint8_t { kOut, kLost, kHeld, kApplied, kClosed };
  struct TaskBook {
    Task task;
    State state = State::kOut;
    bool asked = false;  // its worker wanted one more behind it
    double scale = 1;
    UpdateArrived facts;
  };
  struct WorkerBook {
    bool connected = false;
    bool wants = false;          // another task
    std::vector<int64_t> tasks;  // in flight, as they were dispatched
    Nanos waiting_since = 0;     // when it wants one and may have it
    int64_t waiting_event = 0;   // the event that made it wait
    int64_t ramp = -1;           // steps dispatched in the ramp; -1: no ramp
  };

  // Each handles one event or effect and appends contradictions.
  void joined(Nanos now, const WorkerJoined& event);
  void lose(Nanos now, WorkerId worker);
  void arrived(Nanos now, const UpdateArrived& event);
  bool wanted(Nanos now, const TaskWanted& event);
  void paused(Nanos now, const Pause& event);
  void seen(Nanos now, const Apply& apply);
  void seen(Nanos now, const Dispatch& dispatch);
  void seen_members_of_group(const Apply& apply);
  void accept(const UpdateArrived& event, TaskBook& book, double scale);

  const Effect* next_effect();
  bool takes_reject(const UpdateArrived& event, std::set<RejectReason> reasons);
  std::vector<Sequence*> sequences_of(const Task& task, int64_t first, int64_t count);
  void move(const Task& task, int64_t first, int64_t count, Fate to, int64_t holder);
  void refuse(const Task& task, int64_t count);
  void release(Nanos now, const Task& task);
  void uncount(const Task& task, int64_t steps);
  void check_waiting(Nanos now, bool dispatched, WorkerId subject);
  std::optional<Nanos> earliest_close(Nanos now, bool opens);
  Nanos grace() const;
  Nanos slack() const;
  void check_ledger(const Ledger& ledger, bool thorough);
  void wrong(std::string what) {
    if (wrong_.empty()) wrong_ = std::move(what);
  }
  bool rounds() const { return rig_.gate.name == "barrier"; }
  bool averages() const { return rounds() || rig_.gate.name == "quorum"; }
  double share_of(const TaskBook& book) const;
  void check_group_is_due();
  int64_t steps_left_for(const WorkerBook& worker) const;
  bool waits(const WorkerBook& worker) const;
  bool anyone_out() const;
  bool anyone_waits() const;

  Rig rig_;
  std::unique_ptr<ShardSampler> sampler_;
  std::vector<Shard> shards_;
  std::vector<TaskBook> tasks_;
  std::map<WorkerId, WorkerBook> workers_;
  std::vector<double> norms_;  // accepted
  std::set<int64_t> held_;     // tasks in the group that will be averaged
  std::set<std::pair<int64_t, int64_t>> touched_;
  std::optional<Nanos> opened_;  // the first finish of the open window
  int64_t version_ = 0, collected_ = 0, events_ = 0, max_rejects_ = 0, second_tasks_ = 0;
  CoordinatorCounts counts_;
  bool started_ = false, finished_ = false, paused_ = false;
  std::optional<bool> closes_group_;  // what this event's delta said, where it was applied alone
  bool resumed_ = false;              // this event ended a pause
  const Effects* effects_ = nullptr;
  size_t at_ = 0;
  std::string wrong_;  // the first contradiction
};

}  // namespace rubato
