// Evaluations of a live cluster: made by one thread of low priority on a published version, so that
// no worker waits for them. When they are slower than the run, versions in between are left out.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "rubato/base/ids.h"
#include "rubato/base/status.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

class Evaluator {
 public:
  using Function = std::function<StatusOr<EvalResult>(std::span<const float>)>;

  /// What is evaluated, and where the run stood then.
  struct Job {
    std::shared_ptr<const std::vector<float>> theta;  // [P]
    Nanos now = 0;                                    // of the run's clock
    int64_t local_steps = 0, tokens = 0, version = 0;
  };
  struct Result {
    Job job;  // without theta
    StatusOr<EvalResult> result;
  };

  explicit Evaluator(Function evaluate);
  ~Evaluator();

  /// Takes the place of a job that has not begun.
  void submit(Job job);
  /// What is done since the last call.
  std::vector<Result> take_results();
  /// Waits until nothing is left to do.
  void finish();

 private:
  void work();

  Function evaluate_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Job> next_;
  bool busy_ = false, stopping_ = false;
  std::vector<Result> results_;
  std::thread thread_;
};

}  // namespace rubato
