// The simulator: a virtual clock, in-process workers and real training around the coordinator. What
// a worker computes depends only on its task, its inner state and the parameters it was given, so
// the hours of a task are known at dispatch (worker/worker_clock.h) and the cores may work ahead in
// any order: same recipe, same seed, same bits. When what happens: worker/clockwork.h.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rubato/metrics/sink.h"
#include "rubato/server/machine.h"
#include "rubato/server/server_model.h"
#include "rubato/sim/executors.h"
#include "rubato/sim/simulation_config.h"
#include "rubato/sim/uplink.h"
#include "rubato/worker/clockwork.h"

namespace rubato {

/// Where a run stands, for people.
struct SimulationProgress {
  CoordinatorCounts counts;
  Nanos virtual_time = 0;
  double train_loss = 0;  // of the last arrival
  double lr = 0;
  int64_t staleness = 0;
  std::optional<EvalResult> last_eval;
};

struct SimulationHooks {
  std::function<Nanos()> wall_clock = {};  // since the run began; null: zeros are recorded
  std::function<void(const SimulationProgress&)> progress = {};  // after every arrival; may be null
  std::function<Status()> save = {};  // at a Save effect; state is at rest meanwhile; may be null
  const std::atomic<bool>* stop = nullptr;  // checked between events and while waiting for a step
};

enum class StopReason { kFinished, kStopped };

/// The run ended because a loss or the parameters were no longer finite: the only error with this
/// code. It says something about the recipe; every other error is about its surroundings.
inline bool is_divergence(const Status& status) { return absl::IsAborted(status); }

class Simulation {
 public:
  /// Starts from `theta` [P]. The workload and the sink must outlive the simulation.
  /// InvalidArgument or NotFound in the words of whichever part objects; ResourceExhausted when the
  /// trainers' memory cannot be had.
  static StatusOr<std::unique_ptr<Simulation>> make(SimulationConfig config,
                                                    const Workload& workload,
                                                    std::vector<float> theta, MetricsSink& sink);
  ~Simulation();

  /// Runs until the budget is used up or a stop is asked for; call again to go on. A loss or
  /// parameters not finite are Aborted `[train] ..` (is_divergence); a delta that is not finite has
  /// not touched theta. FailedPrecondition when every worker has left, and when the door
  /// refuses every norm for good. The sink's first error, after the event in which it came up.
  StatusOr<StopReason> run(const SimulationHooks& hooks);

  std::span<const float> theta() const { return server_->theta(); }
  const CoordinatorCounts& counts() const { return coordinator_->counts(); }
  /// Local steps processed, as recorded: those of the workers that a step stands for.
  int64_t local_steps() const;
  /// The same with what tasks have made that are not processed yet; only while no run() is under
  /// way.
  int64_t local_steps_made() const;
  Nanos virtual_time() const { return now_; }
  /// Whether anything was dispatched: before, a new start finds everything again.
  bool started() const { return started_; }

  /// Everything but theta and the configuration; only while no run() is under way or from the save
  /// hook.
  void walk_state(StateWalk& walk);
  /// Makes a fresh simulation continue a saved one: theta, then walk_state with a restoring walk,
  /// before the first run().
  void restore_theta(std::span<const float> theta) { server_->set_theta(theta); }

 private:
  struct Idle {                  // since when a worker has nothing to train, and behind which task
    std::optional<Nanos> since;  // ahead while it trains
    TaskId task;
    ShardId shard;
    template <class A>
    void archive(A& a) {
      a(since, task, shard);
    }
  };
  struct Hours {  // of a flight
    TaskTimes times;
    Idle before;        // what its worker did until it began; recorded when that is over
    Nanos arrived = 0;  // at the coordinator, where it may wait for a group
    template <class A>
    void archive(A& a) {
      a(times, before, arrived);
    }
  };
  struct Flight {  // a task in flight or waiting in a group
    std::unique_ptr<TaskRun> run;
    Hours hours;
    SentDelta sent = {};  // once it has arrived
  };

  Simulation(SimulationConfig config, const Workload& workload, MetricsSink& sink);
  Status process(const Clockwork::Entry& event, const SimulationHooks& hooks);
  Status arrive(const Clockwork::Entry& event, const SimulationHooks& hooks);
  void lose(WorkerId id);
  Status divergence(std::string_view what) const;
  Status check_door(WorkerId id, const Effects& effects);
  Status wait_for(TaskRun& run, const SimulationHooks& hooks);
  Status execute(const Effects& effects, const SimulationHooks& hooks);
  void apply(const Apply& effect);
  void dispatch(const Task& task);
  void drop_flight(TaskId task);
  void record(const Flight& flight, int64_t staleness, std::string verdict,
              const UpdateGeometry& geometry = {});
  void record_wait(WorkerId id, const Idle& idle, Nanos end);
  void record_wait_before(Flight& flight);
  void record_work(const Flight& flight);
  void record_loss(const Flight& flight);
  void record_exchanged_steps(const Task& task, Nanos end, SpanKind kind);
  Status evaluate_if_due(const SimulationHooks& hooks);
  Status evaluate(const SimulationHooks& hooks);

  SimulationConfig config_;
  const Workload& workload_;
  MetricsSink& sink_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<ServerModel> server_;
  Payload payload_;
  std::optional<Uplink> uplink_;  // set by make()

  Nanos now_ = 0;
  bool started_ = false;
  Clockwork clockwork_;
  std::map<TaskId, Flight> flights_;
  std::vector<InnerState> inner_;  // by worker
  std::vector<Idle> idle_;         // by worker
  int64_t next_eval_steps_ = 0;
  bool mark_evaluated_ = false, save_due_ = false;
  int64_t refused_norms_ = 0;  // arrivals in a row; not saved: a resumed run counts anew
  SimulationProgress progress_;
  std::optional<EvalResult> last_eval_;
  std::unique_ptr<Executors> executors_;  // last: it works on what stands above
};

}  // namespace rubato
