// Who gets which task: shard, data, length and expectations.
#include <algorithm>
#include <array>
#include <limits>

#include "rubato/base/int128.h"
#include "rubato/coordinator/coordinator.h"

namespace rubato {
namespace {

// Expectations end here, 73 years: sums with a slack stay in range whatever speed a peer claims.
constexpr Nanos kLatestExpectation = std::numeric_limits<Nanos>::max() / 4;

// How many times faster than our own clock has seen a worker is believed to be. What it says about
// its speed leaves out transfers, which the clock sees too; beyond this they would outweigh the
// training of the very worker by which everybody's training is measured.
constexpr int64_t kBelief = 8;

}  // namespace

std::optional<Nanos> Coordinator::Worker::speed() const {
  if (recent_ns_per_step.empty()) return std::nullopt;
  std::array<Nanos, kSpeedWindow> values;
  const size_t count = std::min(recent_ns_per_step.size(), values.size());
  std::copy(recent_ns_per_step.end() - static_cast<std::ptrdiff_t>(count), recent_ns_per_step.end(),
            values.begin());
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(count / 2);
  std::nth_element(values.begin(), middle, values.begin() + static_cast<std::ptrdiff_t>(count));
  return *middle;
}

// The speed that others may be measured by, if this worker's is worth that, as far as its last
// events tell: nobody makes all tasks short by a claim alone.
std::optional<Nanos> Coordinator::reference_of(const Worker& worker) const {
  if (!worker.connected || worker.trust == SpeedTrust::kDoubted) return std::nullopt;
  const std::optional<Nanos> speed = worker.speed();
  if (!speed || worker.trust == SpeedTrust::kClaimed) return speed;
  return std::max(*speed, worker.pace / kBelief);
}

// Whether a claim is worth nothing any more, because the clock has passed what it explains.
bool Coordinator::is_contradicted(const Worker& worker) const {
  if (worker.trust != SpeedTrust::kClaimed || worker.tasks.empty()) return false;
  const Task& first = in_flight_.at(worker.tasks.front()).task;
  return now_ - first.dispatched > static_cast<Int128>(*worker.speed()) * first.steps * kBelief;
}

void Coordinator::dispatch_waiting(Effects& effects) {
  if (!started_ || finished_ || paused_) return;
  // No task is longer than what is left of the budget; the last round shares that out.
  int64_t max_steps = config_.budget_steps - counts_.steps;
  if (rounds()) {
    const auto members = std::ssize(index_.waiting());
    max_steps = (max_steps + members - 1) / std::max<int64_t>(members, 1);
  }
  const std::vector<WorkerId> waiting = index_.waiting();
  for (WorkerId id : waiting) {
    Worker& worker = workers_.at(id);
    Task task = make_task(id, worker, max_steps - steps_out(worker));
    worker.wants = false;
    worker.tasks.push_back(task.id);
    fates_.push_back(TaskFate::kOpen);
    in_flight_.emplace_hint(in_flight_.end(), task.id, InFlight{.task = task});
    reindex(id, worker);
    effects.push_back(Dispatch{std::move(task)});
  }
}

Task Coordinator::make_task(WorkerId id, Worker& worker, int64_t max_steps) {
  // A worker nobody has measured is taken for the fastest, and is nobody's reference.
  const std::optional<Nanos> own = worker.speed();
  std::optional<Nanos> fastest = own;
  for (const auto& [speed, other] : index_.references()) {
    if (fastest && *fastest <= speed) break;
    if (is_contradicted(workers_.at(other))) continue;
    fastest = speed;
    break;
  }
  const Nanos reference = fastest.value_or(kNanosPerSecond);
  shards_.clear();
  for (int64_t i = 0; i < ledger_.num_shards(); ++i) {
    const Progress& progress = progress_[static_cast<size_t>(i)];
    shards_.push_back({ledger_.shard_size(ShardId(i)), progress.assigned, progress.visits});
  }
  Task task;
  task.id = TaskId(static_cast<int64_t>(fates_.size()));
  task.worker = id;
  task.base = Version(counts_.version);
  task.shard = sampler_->sample(shards_, id, task.id, config_.seed);
  task.steps =
      std::min(policy_->steps(config_.local_steps, own.value_or(reference), reference), max_steps);
  std::vector<TaskId> superseded;
  task.ranges = ledger_.assign(task.shard, task.steps * config_.batch_sequences, superseded);
  supersede(superseded);

  Progress& progress = progress_[static_cast<size_t>(task.shard.value())];
  Int128 all = 0;
  for (int64_t size : config_.shard_sequences) all += size;
  task.lr_first = progress.steps;
  task.lr_total =
      std::max<int64_t>(static_cast<int64_t>(static_cast<Int128>(config_.schedule_steps) *
                                             ledger_.shard_size(task.shard) / all),
                        1);
  progress.assigned += task.steps * config_.batch_sequences;
  progress.steps += task.steps;
  ++progress.visits;

  if (worker.rewarm_done >= 0 && worker.rewarm_done < config_.inner_rewarm_steps) {
    task.rewarm_first = worker.rewarm_done;
    worker.rewarm_done += task.steps;
  }
  task.dispatched = now_;
  const auto expect = [](Int128 at) {
    return static_cast<Nanos>(std::min<Int128>(at, kLatestExpectation));
  };
  const Int128 ready =
      static_cast<Int128>(task.steps) * own.value_or(reference) + now_ + worker.overhead;
  task.expected_ready = expect(ready);
  task.expected_arrival = expect(ready + worker.travel);
  return task;
}

void Coordinator::supersede(const std::vector<TaskId>& tasks) {
  for (TaskId task : tasks) {
    if (in_flight_.erase(task) > 0) fates_[static_cast<size_t>(task.value())] = TaskFate::kRefused;
  }
}

}  // namespace rubato
