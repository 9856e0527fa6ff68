#include "tests/rpc/actors/scene.h"

#include <chrono>
#include <limits>

#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

// Parameters of 1.2 MB: every transfer of them takes two chunks.
constexpr int64_t kParams = 300'000;
constexpr int64_t kLocalSteps = 8;

std::unique_ptr<QuadraticWorkload> make_workload() {
  const auto entry = find_entry<InnerEntry>("test", "inner", inner_entries(), "adamw");
  const auto options = Options::resolve("adamw", (*entry)->options, {});
  auto optimizer = (*entry)->make(*options);
  return QuadraticWorkload::make(
             {.dim = kParams, .shards = 4, .sequences_per_shard = 500},
             std::shared_ptr<const InnerOptimizer>(std::move(optimizer.value())))
      .value();
}

// Delayed Nesterov, dynamic local updates.
MachineConfig make_machine_config(const Facts& words) {
  MachineConfig machine;
  CoordinatorConfig& coordinator = machine.coordinator;
  coordinator.seed = 3;
  coordinator.local_steps = kLocalSteps;
  coordinator.budget_steps =
      integer_of(words, "budget_steps", std::numeric_limits<int64_t>::max() / 2);
  coordinator.schedule_steps = 2000;
  coordinator.save_every_steps = 4 * kLocalSteps;
  if (text_of(words, "overlap") == "full") coordinator.overlap = Overlap::kFull;
  machine.gate = {"free", {}};
  if (text_of(words, "gate") == "grace") machine.gate = {"grace", {{"seconds", 0.02}}};
  machine.policy = {"dylu", {}};
  machine.sampler = {"deficit", {}};
  machine.chain = {.links = {}, .rule = "delayed_nesterov", .options = {}};
  if (const std::string link = text_of(words, "link"); !link.empty())
    machine.chain.links.push_back(link);
  machine.num_workers = integer_of(words, "workers", 1);
  return machine;
}

}  // namespace

Scene make_scene(const Facts& words) {
  Scene scene;
  scene.directory = text_of(words, "directory");
  scene.workload = make_workload();
  scene.worker.learning_rate = {.max = 0.05, .min = 0.05, .warmup_steps = 0};
  ClusterConfig& cluster = scene.cluster;
  cluster.directory = scene.directory;
  cluster.machine = make_machine_config(words);
  cluster.digests = {
      .recipe = "recipe", .data = "data", .layout = layout_digest(scene.workload->layout())};
  cluster.shard_sequences = scene.workload->shard_sequences();
  cluster.tokens_per_sequence = scene.workload->tokens_per_sequence();
  cluster.start_workers = integer_of(words, "workers", 1);
  cluster.lease = integer_of(words, "lease_ms", 2000) * (kNanosPerSecond / 1000);
  cluster.keep_deltas = integer_of(words, "keep_deltas", 1) != 0;
  return scene;
}

Nanos steady_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace rubato
