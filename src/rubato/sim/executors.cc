#include "rubato/sim/executors.h"

#include <algorithm>

#include "rubato/base/float_env.h"

namespace rubato {

StatusOr<std::unique_ptr<Executors>> Executors::make(const Workload& workload,
                                                     const WorkerSettings& settings, DataMap data,
                                                     int threads, int tasks) {
  RUBATO_CHECK(threads >= 1 && tasks >= 1);
  std::vector<std::unique_ptr<Trainer>> trainers;
  for (int i = 0; i < std::min(threads, tasks); ++i) {
    RUBATO_ASSIGN_OR_RETURN(trainers.emplace_back(),
                            workload.make_trainer(settings.batch_sequences, threads));
  }
  return std::unique_ptr<Executors>(
      new Executors(settings, std::move(data), threads, std::move(trainers)));
}

Executors::Executors(const WorkerSettings& settings, DataMap data, int threads,
                     std::vector<std::unique_ptr<Trainer>> trainers)
    : settings_(settings),
      data_(std::move(data)),
      total_threads_(threads),
      trainers_(std::move(trainers)) {
  for (const std::unique_ptr<Trainer>& trainer : trainers_) {
    threads_.emplace_back([this, executor = trainer.get()] { execute(*executor); });
  }
}

Executors::~Executors() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Executors::add(TaskRun* run, Nanos due) {
  {
    std::lock_guard lock(mutex_);
    const TaskRun* behind = nullptr;
    for (const std::unique_ptr<Job>& job : jobs_) {
      if (job->run->task().worker == run->task().worker) behind = job->run;
    }
    jobs_.push_back(std::make_unique<Job>(Job{run, due, behind}));
  }
  work_.notify_one();
}

bool Executors::wait_for(TaskRun* run, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return progress_.wait_for(lock, patience, [&] {
    // Only once nobody works on it: an executor writes the run's state without the lock.
    return !is_busy(run) && run->finished();
  });
}

void Executors::cancel(TaskRun* run) {
  std::unique_lock lock(mutex_);
  progress_.wait(lock, [&] { return !is_busy(run); });
  remove(run);
}

void Executors::pause() {
  std::unique_lock lock(mutex_);
  paused_ = true;
  progress_.wait(lock, [&] { return at_work_ == 0; });
}

void Executors::resume() {
  {
    std::lock_guard lock(mutex_);
    paused_ = false;
  }
  work_.notify_all();
}

Executors::Job* Executors::first_due() {
  Job* best = nullptr;
  for (const std::unique_ptr<Job>& job : jobs_) {
    if (job->busy || job->behind != nullptr) continue;
    if (best == nullptr || job->due < best->due) best = job.get();
  }
  return best;
}

int Executors::startable() const {
  return static_cast<int>(
      std::ranges::count_if(jobs_, [](const auto& job) { return job->behind == nullptr; }));
}

void Executors::remove(TaskRun* run) {
  std::erase_if(jobs_, [run](const std::unique_ptr<Job>& job) { return job->run == run; });
  for (const std::unique_ptr<Job>& job : jobs_) {
    if (job->behind != run) continue;
    job->behind = nullptr;
    work_.notify_one();
  }
}

bool Executors::is_busy(TaskRun* run) const {
  return std::ranges::any_of(jobs_,
                             [run](const auto& job) { return job->run == run && job->busy; });
}

void Executors::execute(Trainer& trainer) {
  flush_denormals();
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopping_ || (!paused_ && first_due() != nullptr); });
    if (stopping_) return;
    Job* job = first_due();
    job->busy = true;
    ++at_work_;
    // Cores that no other task can use go into this one's lanes.
    const int sharers = std::min(startable(), static_cast<int>(trainers_.size()));
    const int threads = std::max(total_threads_ / std::max(sharers, 1), 1);
    lock.unlock();
    const bool more = job->run->advance(trainer, settings_, data_, threads);
    if (!more) job->run->finish();
    lock.lock();
    --at_work_;
    job->busy = false;
    if (!more) remove(job->run);
    progress_.notify_all();
  }
}

}  // namespace rubato
