// The real cores under the virtual clock: a few threads that make local steps of whatever tasks are
// in flight. Between two steps an executor turns to the task that is due first, so that the
// simulation seldom waits, and tasks that are due late fill the gaps. A worker's inner state goes
// from task to task, so its second task is touched only when its first one is complete. Who
// executes a step, and with how many threads, never changes a bit.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "rubato/trainer/trainer.h"
#include "rubato/worker/task_run.h"

namespace rubato {

class Executors {
 public:
  /// `threads` >= 1 in all, at most `tasks` at work at the same time. Errors are make_trainer's.
  static StatusOr<std::unique_ptr<Executors>> make(const Workload& workload,
                                                   const WorkerSettings& settings, DataMap data,
                                                   int threads, int tasks);
  ~Executors();

  /// Starts on `run` (once resume() was called, and behind what was added of the same worker),
  /// which must stay where it is until it is finished or cancelled. Smaller `due` goes first.
  void add(TaskRun* run, Nanos due);
  /// Waits up to `patience` for `run`; whether it is finished.
  bool wait_for(TaskRun* run, std::chrono::milliseconds patience);
  /// Gives `run` up after the step it is in.
  void cancel(TaskRun* run);
  /// Returns when no step is being made; none begins until resume().
  void pause();
  void resume();

 private:
  struct Job {
    TaskRun* run;
    Nanos due;
    const TaskRun* behind;  // an earlier task of the same worker that is not complete, or null
    bool busy = false;
  };
  Executors(const WorkerSettings& settings, DataMap data, int threads,
            std::vector<std::unique_ptr<Trainer>> trainers);
  void execute(Trainer& trainer);
  Job* first_due();
  int startable() const;
  void remove(TaskRun* run);
  bool is_busy(TaskRun* run) const;

  WorkerSettings settings_;
  DataMap data_;
  int total_threads_;
  std::vector<std::unique_ptr<Trainer>> trainers_;

  std::mutex mutex_;
  std::condition_variable work_, progress_;
  std::vector<std::unique_ptr<Job>> jobs_;
  int at_work_ = 0;
  bool paused_ = true, stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace rubato
