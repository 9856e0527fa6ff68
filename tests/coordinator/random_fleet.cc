#include "tests/coordinator/random_fleet.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace rubato {
namespace {

constexpr Nanos kMillisecond = 1'000'000;

}  // namespace

Rig random_rig(uint64_t seed) {
  Rng rng(seed, RngStream::kTest, 1);
  const auto pick = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(rng.below(static_cast<uint64_t>(high - low + 1)));
  };
  Rig rig;
  CoordinatorConfig& config = rig.config;
  config.seed = seed;
  for (int64_t shards = pick(1, 4); shards > 0; --shards)
    config.shard_sequences.push_back(pick(1, 40));
  config.local_steps = pick(1, 8);
  config.batch_sequences = pick(1, 3);
  config.tokens_per_sequence = pick(1, 5);
  config.budget_steps = pick(100, 6000);
  config.schedule_steps = pick(1, 8000);
  config.inner_rewarm_steps = pick(0, 1) * pick(1, 20);
  if (pick(0, 1) == 1) config.save_every_steps = pick(1, 500);
  config.door.norm_action = static_cast<NormAction>(pick(0, 2));
  config.door.norm_after = pick(0, 20);
  const auto gates = gate_entries();
  rig.gate = {gates[rng.below(gates.size())]->name};
  if (rig.gate.name == "grace") {
    rig.gate.options.emplace("seconds", 0.5 * static_cast<double>(pick(0, 4)));
    // None, some, or to the window's end.
    const int64_t slack_ms = std::array<int64_t, 3>{0, pick(1, 300), 86'400'000}[rng.below(3)];
    rig.gate.options.emplace("slack", static_cast<double>(slack_ms) / 1000);
  }
  if (rig.gate.name == "barrier" && pick(0, 1) == 1)
    rig.gate.options.emplace("weight", std::string("shard"));
  const bool averages = rig.gate.name == "barrier" || rig.gate.name == "quorum";
  if (rig.gate.name == "quorum") {
    if (pick(0, 1) == 1) rig.gate.options.emplace("deltas", pick(1, 5));
    rig.gate.options.emplace("grace", 0.25 * static_cast<double>(pick(0, 6)));
    constexpr const char* kWeights[] = {"members", "shard", "tokens"};
    rig.gate.options.emplace("weight", std::string(kWeights[pick(0, 2)]));
  }
  if (!averages) config.arrivals_per_step = pick(1, 4);
  if (rig.gate.name != "barrier") {
    if (pick(0, 1) == 1) config.max_staleness = pick(0, 5);
  }
  rig.policy = {policy_entries()[rng.below(policy_entries().size())]->name};
  rig.sampler = {sampler_entries()[rng.below(sampler_entries().size())]->name};
  if (!averages) config.overlap = static_cast<Overlap>(pick(0, 2));
  return rig;
}

RandomFleet::RandomFleet(uint64_t seed, const CoordinatorConfig& config)
    : rng_(seed, RngStream::kTest, 2),
      tokens_per_sequence_(config.tokens_per_sequence),
      overlap_(config.overlap) {
  trouble_ = 0.2 * rng_.uniform() * rng_.uniform();
  tick_ = chance(0.5) ? 1 : 250 * kMillisecond;
  const uint64_t count = 1 + rng_.below(6);
  for (uint64_t i = 0; i < count; ++i) {
    workers_[WorkerId(static_cast<int64_t>(i))].ns_per_step =
        (about(3000 * kMillisecond) / tick_ + 1) * tick_;
  }
  if (overlap_ == Overlap::kNone) return;
  for (auto& [id, worker] : workers_) {
    worker.down = about(6000 * kMillisecond) / tick_ * tick_;
    worker.up = about(20'000 * kMillisecond) / tick_ * tick_;
  }
}

RandomFleet::Timed RandomFleet::next() {
  if (!started_) {
    for (auto& [id, worker] : workers_) {
      if (!worker.connected && chance(0.7)) return {now_, join(id)};
    }
    started_ = true;
    return {now_, Start{}};
  }
  if (queue_.empty() || chance(trouble_)) {
    const Nanos until = queue_.empty() ? now_ + 1000 * kMillisecond : std::get<0>(*queue_.begin());
    return disturbance(now_ + about(until - now_));
  }
  const auto [at, order, id, serial] = *queue_.begin();
  queue_.erase(queue_.begin());
  now_ = at;
  if (order == kTimer) return {now_, TimerFired{id}};
  if (order == kResume) return {now_, Pause{false}};
  const Task task = tasks_[static_cast<size_t>(id)];
  if (order == kWant) {
    ++tally_.wants;
    return {now_, TaskWanted{task.worker, task.id}};
  }
  if (!workers_.at(task.worker).tasks.contains(task.id)) {
    // A zombie: its worker was declared lost, or the delta was delivered before.
    if (chance(0.3)) return disturbance(now_);
    ++tally_.late;
  }
  return {now_, deliver(task)};
}

RandomFleet::Timed RandomFleet::disturbance(Nanos now) {
  now_ = now;
  const auto which =
      std::next(workers_.begin(), static_cast<std::ptrdiff_t>(rng_.below(workers_.size())));
  const uint64_t dice = rng_.below(12);
  if (dice == 11 && started_) {
    // Sometimes twice: the second end of a pause means nothing.
    ++tally_.pauses;
    for (int ends = chance(0.2) ? 2 : 1; ends > 0; --ends)
      schedule(now_ + about(20'000 * kMillisecond), kResume, 0);
    return {now_, Pause{true}};
  }
  if (dice < 4 && !queue_.empty()) return {now_, lose(which->first)};
  if (dice < 8 || queue_.empty()) return {now_, join(which->first)};
  return {now_, stray()};
}

Event RandomFleet::join(WorkerId id) {
  ++tally_.joins;
  Worker& worker = workers_.at(id);
  worker.connected = true;
  worker.tasks.clear();  // what it was doing is nobody's work any more
  return WorkerJoined{id, worker.ns_per_step, chance(0.3)};
}

Event RandomFleet::lose(WorkerId id) {
  ++tally_.losses;
  workers_.at(id).connected = false;
  workers_.at(id).tasks.clear();
  return WorkerLost{id};
}

Event RandomFleet::stray() {
  ++tally_.strays;
  switch (rng_.below(overlap_ == Overlap::kNone ? 4 : 6)) {
    case 0:
      return TimerFired{last_timer_ - 1 - about(5)};
    case 1:
      return WorkerLost{WorkerId(100 + about(3))};
    case 2:
      return Start{};
    case 4:
      return TaskWanted{WorkerId(about(5)), TaskId(about(std::ssize(tasks_)) - 1)};
    case 5:  // by its owner, at any time
      if (tasks_.empty()) return Start{};
      return TaskWanted{tasks_.back().worker, tasks_.back().id};
    default:
      return UpdateArrived{
          .worker = WorkerId(about(5)),
          .task = TaskId(chance(0.5) ? -1 - about(9) : std::ssize(tasks_) + about(9)),
          .steps_done = 1,
          .tokens = 1};
  }
}

Event RandomFleet::deliver(const Task& task) {
  Worker& worker = workers_.at(task.worker);
  UpdateArrived update{.worker = task.worker, .task = task.id, .steps_done = task.steps};
  if (chance(0.1)) {
    ++tally_.partial;
    update.steps_done = about(task.steps);
  }
  int64_t sequences = 0;
  for (const DataRange& range : task.ranges) sequences += range.count;
  const int64_t tokens_per_step = tokens_per_sequence_ * sequences / task.steps;
  update.tokens = update.steps_done * tokens_per_step;
  update.train_ns =
      update.steps_done * (worker.ns_per_step + (tick_ == 1 ? about(worker.ns_per_step / 10) : 0));
  update.norm = (0.9 + 0.2 * rng_.uniform()) * std::sqrt(static_cast<double>(update.steps_done));
  if (chance(0.05)) {
    // Delivered again later, and some owners are robbed of their delta's name first.
    schedule(now_ + about(5000 * kMillisecond), kArrival, task.id.value());
    ++tally_.duplicates;
    if (chance(0.3)) {
      update.worker = WorkerId(task.worker.value() + 1);
      return update;
    }
  }
  worker.tasks.erase(task.id);
  if (!chance(0.06)) return update;
  ++tally_.corrupt;
  switch (rng_.below(8)) {
    case 0:
      update.finite = false;
      break;
    case 1:
      update.norm = std::numeric_limits<double>::quiet_NaN();
      break;
    case 2:
      update.norm = std::numeric_limits<double>::infinity();
      break;
    case 3:
      update.norm *= 1000;
      break;
    case 4:
      update.steps_done += task.steps + 1;
      break;
    case 5:
      update.steps_done = -1;
      break;
    case 6:
      update.tokens += 1;
      break;
    default:
      update.train_ns = -1;
      break;
  }
  return update;
}

void RandomFleet::take(const Effects& effects) {
  for (const Effect& effect : effects) {
    if (const auto* timer = std::get_if<SetTimer>(&effect)) {
      schedule(timer->at, kTimer, timer->timer);
      last_timer_ = timer->timer;
    }
    const auto* dispatch = std::get_if<Dispatch>(&effect);
    if (!dispatch) continue;
    tasks_.push_back(dispatch->task);
    begin(dispatch->task);
  }
}

void RandomFleet::begin(const Task& task) {
  Worker& worker = workers_.at(task.worker);
  if (worker.tasks.empty()) worker.trained = now_;  // whatever it did before is given up
  worker.tasks.insert(task.id);
  const auto jitter = [&](Nanos time) { return tick_ == 1 ? about(time) : 0; };
  const Nanos begins = std::max(worker.trained, now_ + worker.down);
  worker.trained = begins + task.steps * worker.ns_per_step + jitter(worker.ns_per_step);
  // A delta may overtake the one before it.
  schedule(worker.trained + worker.up + jitter(worker.up), kArrival, task.id.value());
  if (overlap_ == Overlap::kNone || chance(0.1)) return;
  const Nanos lead = overlap_ == Overlap::kFull ? worker.down : 0;
  schedule(std::max(worker.trained - lead, now_), kWant, task.id.value());
  if (chance(0.1)) schedule(worker.trained + jitter(worker.up), kWant, task.id.value());
}

}  // namespace rubato
