// A simulation's state: the coordinator, the outer chain, the clock's queue, and every task as far
// as it has got.
#include <set>

#include "rubato/base/archive.h"
#include "rubato/sim/simulation.h"

namespace rubato {

void Simulation::walk_state(StateWalk& walk) {
  coordinator_->walk_state(walk);
  PrefixedWalk outer(walk, "outer.");
  server_->walk_state(outer);

  std::vector<std::pair<Task, Hours>> tasks;  // in flight, by id
  for (auto& [id, flight] : flights_) tasks.emplace_back(flight.run->task(), flight.hours);
  walk_record(walk, "simulation", [&](auto& parts) {
    parts(now_, started_);
    clockwork_.archive_queue(parts);
    parts(tasks, idle_, next_eval_steps_, mark_evaluated_);
    clockwork_.archive_clocks(parts);
  });

  for (size_t i = 0; i < inner_.size(); ++i) {
    PrefixedWalk inner(walk, cat("worker.", i, ".inner."));
    inner_[i].walk_state(inner);
  }
  uplink_->walk_state(walk);
  const std::vector<TaskId> to_arrive = clockwork_.tasks_to_arrive();
  const std::set<TaskId> awaited(to_arrive.begin(), to_arrive.end());
  // Tasks that start from one version share its parameters.
  std::map<Version, std::shared_ptr<std::vector<float>>> bases;
  for (auto& [task, hours] : tasks) {
    std::shared_ptr<std::vector<float>>& base = bases[task.base];
    const auto it = flights_.find(task.id);
    if (!base) {
      // Saving only reads; a copy of every base would double the memory that tasks take.
      base = it == flights_.end()
                 ? std::make_shared<std::vector<float>>(server_->theta().size())
                 : std::const_pointer_cast<std::vector<float>>(it->second.run->base());
      walk.plane(cat("base.", task.base), *base);
    }
    if (it == flights_.end()) {
      InnerState& inner = inner_[static_cast<size_t>(task.worker.value())];
      flights_[task.id] = {std::make_unique<TaskRun>(task, base, &inner), hours, {}};
    }
    PrefixedWalk run(walk, cat("task.", task.id, "."));
    Flight& flight = flights_.at(task.id);
    TaskRun& restored = *flight.run;
    restored.walk_state(run);
    uplink_->walk_sent(run, restored, !awaited.contains(task.id), flight.sent);
    const bool new_to_executors = it == flights_.end() && !restored.finished();
    if (new_to_executors) executors_->add(&restored, hours.times.arrives);
  }
}

}  // namespace rubato
