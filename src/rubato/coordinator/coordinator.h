// The coordinator: a pure state machine that owns who trains what. step(now, event, effects) reads
// facts and returns what is to be done; no I/O, clock, thread, log or float of the model. The
// simulator and a cluster drive the same code, and synchronous training is the same machine behind
// another gate.
//
//   arrival -> door -> ledger -> Apply -> gate -> Dispatch..          Source: Liu et al. 2024, Alg.
//   2, 4, 5.
//
// step() is total: whatever comes is answered. State is a few rows per worker, task in flight and
// open epoch.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rubato/base/state_walk.h"
#include "rubato/coordinator/coordinator_config.h"
#include "rubato/coordinator/door.h"
#include "rubato/coordinator/events.h"
#include "rubato/coordinator/ledger.h"
#include "rubato/coordinator/worker_index.h"
#include "rubato/schedule/gate.h"
#include "rubato/schedule/sampler.h"
#include "rubato/schedule/step_policy.h"

namespace rubato {

class Coordinator {
 public:
  /// InvalidArgument `[coordinator] ..` when the configuration cannot work. Owns gate, policy and
  /// sampler.
  static StatusOr<Coordinator> make(CoordinatorConfig config, std::unique_ptr<Gate> gate,
                                    std::unique_ptr<StepPolicy> policy,
                                    std::unique_ptr<ShardSampler> sampler);

  /// Takes one event at `now` (never before an earlier event's) and appends what is to be done, in
  /// order.
  void step(Nanos now, const Event& event, Effects& effects);

  const CoordinatorCounts& counts() const { return counts_; }
  bool finished() const { return finished_; }
  const Ledger& ledger() const { return ledger_; }
  const CoordinatorConfig& config() const { return config_; }
  /// The task in flight of that id, or nullptr.
  const Task* find_task(TaskId task) const;
  /// Tasks that are somebody's work now, by id.
  std::vector<Task> tasks_in_flight() const;
  /// Tasks whose delta would still be taken: those, and of workers that were lost in the middle.
  std::vector<TaskId> tasks_awaited() const;
  /// Arrived deltas that wait for the rest of their group: the driver keeps them.
  std::vector<TaskId> tasks_in_group() const;
  bool is_connected(WorkerId worker) const;
  std::vector<WorkerId> connected_workers() const;
  bool started() const { return started_; }
  bool paused() const { return paused_; }
  /// Every worker that ever joined, by id.
  std::vector<WorkerStanding> workers() const;
  /// The timer that is still to go off, for a driver that goes on from a saved state.
  std::optional<SetTimer> pending_timer() const;
  /// The answer to a delta that needs no event because it changes nothing: one that was applied
  /// before, or that nobody asked `worker` for. Nullopt when step() has to decide.
  std::optional<Effect> answer_at_once(WorkerId worker, TaskId task) const;
  /// Whether a TaskWanted would change anything now.
  bool takes_wish(WorkerId worker, TaskId behind) const;
  /// Digest over every effect since the run began, in order: equal digests are equal histories.
  const std::string& effects_digest() const { return effects_digest_; }
  /// Everything but the configuration, as one record.
  void walk_state(StateWalk& walk);

 private:
  static constexpr size_t kSpeedWindow = 8;  // measurements a worker's speed is the median of
  // What a worker's speed is worth to the others, whose tasks are measured by the fastest.
  enum class SpeedTrust : uint8_t {
    kClaimed,   // nothing has come yet: a claim counts until the clock contradicts it
    kMeasured,  // its last delta passed the door
    kDoubted    // its last delta did not
  };
  struct Worker {
    bool connected = false;
    bool wants = false;                     // a task, or one more; see waits()
    std::vector<TaskId> tasks;              // in flight, in the order of dispatch
    std::vector<Nanos> recent_ns_per_step;  // declared, then the last few measured, oldest first
    SpeedTrust trust = SpeedTrust::kClaimed;
    Nanos pace = 0;            // [ns/step] of its last delta, by our own clock
    Nanos overhead = 0;        // moving average of ready - dispatch - training
    Nanos travel = 0;          // moving average of arrival - ready
    int64_t rewarm_done = -1;  // steps made in the ramp; -1: none to make
    /// [ns/step] Median of the recent ones; nullopt: unknown.
    std::optional<Nanos> speed() const;
    template <class A>
    void archive(A& a) {
      a(connected, wants, tasks, recent_ns_per_step, trust, pace, overhead, travel, rewarm_done);
    }
  };
  struct InFlight {
    Task task;
    bool lost = false;  // its worker went away: the data is back in line, a late delta is welcome
    std::optional<Nanos> asked = {};  // when its worker wanted one more behind it
    template <class A>
    void archive(A& a) {
      a(task, lost, asked);
    }
  };
  struct Arrived {  // a member of a group that will be averaged, waiting for the rest
    TaskId task;
    WorkerId worker;
    ShardId shard;
    double scale = 1;
    int64_t tokens = 0, steps = 0, staleness = 0;
    Nanos at = 0, out = 0;  // when it came, how long it was out
    template <class A>
    void archive(A& a) {
      a(task, worker, shard, scale, tokens, steps, staleness, at, out);
    }
  };
  enum class TaskFate : uint8_t { kOpen, kApplied, kRefused };
  struct Progress {  // of a shard
    int64_t assigned = 0, visits = 0, steps = 0;
    template <class A>
    void archive(A& a) {
      a(assigned, visits, steps);
    }
  };

  Coordinator(CoordinatorConfig config, std::unique_ptr<Gate> gate,
              std::unique_ptr<StepPolicy> policy, std::unique_ptr<ShardSampler> sampler);

  void on(const WorkerJoined& event, Effects& effects);
  void on(const WorkerLost& event, Effects& effects);
  void on(const Start& event, Effects& effects);
  void on(const UpdateArrived& event, Effects& effects);
  void on(const TimerFired& event, Effects& effects);
  void on(const TaskWanted& event, Effects& effects);
  void on(const Pause& event, Effects& effects);
  void on(const RolledBack& event, Effects& effects);

  // Arrival, in order: is it acceptable, what of its data is used, what is applied.
  std::optional<RejectReason> refuse(const UpdateArrived& event) const;
  void accept(const UpdateArrived& event, InFlight flight, Effects& effects);
  void fold_in(const UpdateArrived& event, const Task& task, double scale, Effects& effects);
  void apply_group(Effects& effects);
  double share_of(const Arrived& member) const;
  void measure(const UpdateArrived& event, const InFlight& flight);
  void release_worker(WorkerId worker, TaskId task);

  void give_back(const Task& task, const std::vector<DataRange>& ranges, int64_t steps, TaskId by);
  bool waits(const Worker& worker) const;
  int64_t steps_out(const Worker& worker) const;
  std::optional<Nanos> expected_to_wait(const Worker& worker) const;
  void reindex(WorkerId id, const Worker& worker);
  void reindex_all();
  /// Whether it let the group go; at the end of the run nobody waits for more either.
  bool open_window_or_wait(Effects& effects, bool timer_fired);
  static void mark_group_closed(Effects& effects, size_t first);
  void close_window(Effects& effects);
  void dispatch_waiting(Effects& effects);
  Task make_task(WorkerId id, Worker& worker, int64_t max_steps);
  void supersede(const std::vector<TaskId>& tasks);
  void finish_if_spent(Effects& effects);
  GateDecision ask_gate(bool timer_fired) const;
  bool rounds() const { return gate_->rounds(); }
  bool averages() const { return gate_->group_mode() != GroupMode::kEach; }
  bool anyone_out() const;
  std::optional<Nanos> reference_of(const Worker& worker) const;
  bool is_contradicted(const Worker& worker) const;

  template <class A>
  void archive(A& a) {
    a(now_, started_, finished_, counts_, ledger_, door_, progress_, workers_, in_flight_, fates_,
      group_, window_opened_, timers_, timer_at_, held_arrivals_, next_save_steps_, effects_digest_,
      paused_);
  }

  CoordinatorConfig config_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<StepPolicy> policy_;
  std::unique_ptr<ShardSampler> sampler_;

  Nanos now_ = 0;
  bool started_ = false, finished_ = false, paused_ = false;
  CoordinatorCounts counts_;
  Ledger ledger_;
  Door door_;
  std::vector<Progress> progress_;  // by shard
  std::map<WorkerId, Worker> workers_;
  std::map<TaskId, InFlight> in_flight_;
  std::vector<TaskFate> fates_;  // by task id, of all ever dispatched: one byte each
  std::vector<Arrived> group_;
  std::optional<Nanos> window_opened_;  // the first finish of the open window (tau_sync)
  int64_t timers_ = 0;                  // set so far; the last one is the valid one
  std::optional<Nanos> timer_at_;       // when the valid one goes off
  int64_t held_arrivals_ = 0;           // since the last outer step of a buffering chain
  int64_t next_save_steps_ = 0;
  std::string effects_digest_;

  WorkerIndex index_;                  // of workers_; follows from what stands above
  std::string history_bytes_;          // scratch: what the digest takes in
  std::vector<ShardProgress> shards_;  // scratch: what a sampler sees
};

}  // namespace rubato
