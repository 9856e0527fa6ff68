#include "rubato/sim/simulation_config.h"

#include <algorithm>
#include <utility>

namespace rubato {
namespace {

Status fleet_error(std::string_view what) {
  return absl::InvalidArgumentError(cat("[fleet] got ", what));
}

Status check_link(const Link& link, const Payload& payload) {
  for (const std::optional<int64_t>& rate : {link.down_bytes_per_s, link.up_bytes_per_s}) {
    if (rate && *rate < 1) return fleet_error(cat(*rate, " bytes/s, want at least 1"));
  }
  if (link.latency < 0 || link.latency >= kLongestTime)
    return fleet_error(cat(to_seconds(link.latency), " s of latency, want at least 0 s and below ",
                           to_seconds(kLongestTime), " s"));
  const Nanos slowest = std::max(busy_time(payload.down_bytes, link.down_bytes_per_s),
                                 busy_time(payload.up_bytes, link.up_bytes_per_s));
  if (slowest < kLongestTime) return absl::OkStatus();
  return fleet_error(cat("a link that carries ", std::max(payload.down_bytes, payload.up_bytes),
                         " bytes in ", to_seconds(kLongestTime), " s or more, want a faster one"));
}

Status check_worker(const SimWorker& worker, int64_t local_steps, const Payload& payload) {
  if (worker.ns_per_step <= 0)
    return fleet_error(cat(to_seconds(worker.ns_per_step), " s per step, want more than 0 s"));
  if (worker.ns_per_step > kLongestTime / std::max<int64_t>(local_steps, 1)) {
    return fleet_error(cat(local_steps, " steps of ", to_seconds(worker.ns_per_step),
                           " s a task, want at most ", to_seconds(kLongestTime), " s"));
  }
  if (worker.return_at && (!worker.leave_at || *worker.return_at < *worker.leave_at))
    return fleet_error("a worker that returns before it leaves, want leave_s <= return_s");
  return check_link(worker.link, payload);
}

// Gradient up, parameters down, in every step of k x batch.
Nanos exchange_time(const Link& link, const Payload& payload) {
  return busy_time(payload.up_bytes, link.up_bytes_per_s) +
         busy_time(payload.down_bytes, link.down_bytes_per_s) + 2 * link.latency;
}

}  // namespace

StatusOr<PreparedSimulation> prepare_simulation(SimulationConfig config, const ModelFacts& model,
                                                const Layout& layout) {
  if (config.fleet.empty())
    return absl::InvalidArgumentError("[fleet] got no workers, want at least one");
  RUBATO_ASSIGN_OR_RETURN(const Codecs codecs, make_codecs(config));
  const Payload payload = payload_of(*codecs.up, *codecs.down, model.num_params);
  for (const SimWorker& worker : config.stands_for) {
    RUBATO_RETURN_IF_ERROR(check_worker(worker, 1, payload));
    config.fleet[0].ns_per_step = std::max(
        config.fleet[0].ns_per_step, worker.ns_per_step + exchange_time(worker.link, payload));
  }
  for (const SimWorker& worker : config.fleet) {
    RUBATO_RETURN_IF_ERROR(check_worker(worker, config.coordinator.local_steps, payload));
  }
  RUBATO_RETURN_IF_ERROR(config.worker.learning_rate.validate());
  config.coordinator.batch_sequences = config.worker.batch_sequences;
  config.coordinator.inner_rewarm_steps = config.worker.inner_rewarm_steps;
  RUBATO_ASSIGN_OR_RETURN(Machine machine, make_machine(config, layout, model.shard_sequences,
                                                        model.tokens_per_sequence));
  return PreparedSimulation{std::move(config), payload, std::move(machine)};
}

}  // namespace rubato
