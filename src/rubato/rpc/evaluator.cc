#include "rubato/rpc/evaluator.h"

#include <utility>

#include <sys/resource.h>
#include <unistd.h>

#include "rubato/base/float_env.h"

namespace rubato {

Evaluator::Evaluator(Function evaluate) : evaluate_(std::move(evaluate)) {
  thread_ = std::thread([this] { work(); });
}

Evaluator::~Evaluator() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void Evaluator::submit(Job job) {
  const std::lock_guard lock(mutex_);
  next_ = std::move(job);
  changed_.notify_all();
}

std::vector<Evaluator::Result> Evaluator::take_results() {
  const std::lock_guard lock(mutex_);
  return std::exchange(results_, {});
}

void Evaluator::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !next_ && !busy_; });
}

void Evaluator::work() {
  // On Linux a thread has a priority of its own. Where it is refused, the evaluation is only less
  // polite.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 19);
  flush_denormals();
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return next_ || stopping_; });
    if (stopping_) return;
    Job job = std::move(*next_);
    next_.reset();
    busy_ = true;
    lock.unlock();
    StatusOr<EvalResult> result = evaluate_(*job.theta);
    job.theta.reset();
    lock.lock();
    results_.push_back({std::move(job), std::move(result)});
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace rubato
