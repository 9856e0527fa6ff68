#include "tests/sim/fixtures.h"

#include <cmath>

#include <gtest/gtest.h>

namespace rubato {

std::vector<SimWorker> toy_fleet() {
  std::vector<SimWorker> fleet;
  for (double seconds : {0.58, 0.75, 1.51, 3.33})
    fleet.push_back({.ns_per_step = from_seconds(seconds)});
  return fleet;
}

std::vector<SimWorker> equal_fleet(int64_t k) {
  return std::vector<SimWorker>(static_cast<size_t>(k), SimWorker{.ns_per_step = kNanosPerSecond});
}

std::unique_ptr<QuadraticWorkload> quadratic_workload(const std::string& inner, int64_t shards) {
  const auto entry = find_entry<InnerEntry>("test", "inner", inner_entries(), inner);
  RUBATO_CHECK(entry.ok());
  const auto options = Options::resolve(inner, (*entry)->options, {});
  RUBATO_CHECK(options.ok());
  auto optimizer = (*entry)->make(*options);
  RUBATO_CHECK(optimizer.ok());
  auto workload = QuadraticWorkload::make(
      {.dim = 48, .shards = shards, .sequences_per_shard = 500, .noise = 0.1},
      std::shared_ptr<const InnerOptimizer>(std::move(*optimizer)));
  RUBATO_CHECK(workload.ok());
  return std::move(*workload);
}

SimulationConfig toy_config() {
  SimulationConfig config;
  config.coordinator.seed = 3;
  config.coordinator.local_steps = 20;
  config.coordinator.budget_steps = 8000;
  config.coordinator.schedule_steps = 8000;
  config.gate = {"grace", {{"seconds", 0.5}}};
  config.policy = {"fixed", {}};
  config.sampler = {"least_visited", {}};
  config.chain = {.links = {}, .rule = "delayed_nesterov", .options = {}};
  config.num_workers = 4;
  config.worker.learning_rate = {.max = 0.05, .min = 0.05, .warmup_steps = 0};
  config.fleet = toy_fleet();
  config.eval_every_steps = 800;
  return config;
}

SimulationConfig linked_config(Overlap overlap) {
  constexpr int64_t kBytes = 4 * 48;  // of the quadratic's parameters
  SimulationConfig config = toy_config();
  config.coordinator.budget_steps = config.coordinator.schedule_steps = 1200;
  config.coordinator.overlap = overlap;
  config.policy = {"dylu", {}};
  config.fleet[0].link = {
      .down_bytes_per_s = kBytes, .up_bytes_per_s = kBytes / 4, .latency = from_seconds(0.1)};
  config.fleet[1].link = {.up_bytes_per_s = kBytes / 16, .latency = from_seconds(0.5)};
  config.fleet[3].link = {.down_bytes_per_s = kBytes / 8};
  return config;
}

SimRun run_to_end(const SimulationConfig& config, const Workload& workload) {
  std::vector<float> theta(static_cast<size_t>(workload.layout().size()));
  workload.initialise(1, theta);
  MemorySink sink;
  auto sim = Simulation::make(config, workload, theta, sink);
  if (!sim.ok()) {
    ADD_FAILURE() << sim.status();
    return {};
  }
  const auto reason = (*sim)->run({});
  EXPECT_TRUE(reason.ok()) << reason.status();
  return {std::vector<float>((*sim)->theta().begin(), (*sim)->theta().end()), sink.log(),
          (*sim)->counts()};
}

std::string lines_of(const RecordLog& log) {
  std::string lines;
  for (const EvalRecord& record : log.evals) lines += to_line(record) + "\n";
  for (const UpdateRecord& record : log.updates) lines += to_line(record) + "\n";
  for (const TaskSpan& record : log.spans) lines += to_line(record) + "\n";
  for (const EventRecord& record : log.events) lines += to_line(record) + "\n";
  return lines;
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  RUBATO_CHECK(a.size() == b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

}  // namespace rubato
