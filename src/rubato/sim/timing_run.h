// A simulation without its floats: the same coordinator, clockwork and links, and nobody who
// trains. It tells what a fleet would do with its time: how much of its speed becomes local steps,
// how stale deltas are when they come, how many bytes travel. No evaluation, no outer step; the
// door has no norm to judge and lets everything in.
//
//   utilisation = tokens that were trained / (what everybody makes who never waits)
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "rubato/sim/simulation_config.h"

namespace rubato {

/// What happened in a window of virtual time.
struct TimingFigures {
  Nanos window = 0;               // [ns] measured
  double tokens = 0;              // trained in it, of tasks that arrived and of those that will
  double ideal_tokens_per_s = 0;  // of all workers at their speed, without any wait
  int64_t arrivals = 0;           // deltas, in it
  int64_t discarded = 0;          // of these, too stale for the outer rule
  int64_t versions = 0;           // outer steps, in it
  int64_t bytes_up = 0, bytes_down = 0;  // of all workers, in it
  std::vector<int64_t> staleness;        // arrivals by staleness [versions]

  double tokens_per_s() const;
  double utilisation() const;
  double staleness_mean() const;
  /// The least staleness that a share `q` in (0, 1] of the arrivals does not exceed; 0 of none.
  int64_t staleness_quantile(double q) const;
};

class TimingRun {
 public:
  /// As Simulation::make; the budget of `config` is ignored, and so are its joins and losses:
  /// everybody is there from the beginning to the end.
  static StatusOr<std::unique_ptr<TimingRun>> make(SimulationConfig config,
                                                   const ModelFacts& model);

  /// The longest time that one task of anybody takes when nothing is in its way.
  Nanos longest_task() const;
  /// Goes on until virtual time `end`, at most `most_dispatches` later; what happens from the
  /// virtual time of this call on is measured.
  TimingFigures run_until(Nanos end, int64_t most_dispatches);

  Nanos virtual_time() const { return now_; }
  int64_t dispatches() const { return dispatches_; }
  const Coordinator& coordinator() const { return *prepared_.machine.coordinator; }

 private:
  struct Flight {  // of a worker's task, until it arrives
    TaskId task;
    int64_t steps = 0;
    TaskTimes times;
  };
  struct Worker {
    std::array<Flight, kMostTasksInFlight> flights;  // the oldest first
    size_t in_flight = 0;
  };

  explicit TimingRun(PreparedSimulation prepared);
  Event event_of(const Clockwork::Entry& entry);
  void follow(const Effects& effects);
  void count(int64_t staleness, int64_t arrivals);
  void add_training(const Flight& flight, Nanos until);
  int64_t real_workers() const;
  int64_t exchanges(int64_t steps) const;

  PreparedSimulation prepared_;
  int64_t tokens_per_step_ = 1;
  Clockwork clockwork_;
  std::vector<Worker> workers_;
  Effects effects_;
  Nanos now_ = 0, measured_from_ = 0;
  bool started_ = false;
  int64_t dispatches_ = 0;
  TimingFigures figures_;
};

}  // namespace rubato
