#include "rubato/app/memory.h"

#include <algorithm>

#include "rubato/lm/lm_workload.h"

namespace rubato {
namespace {

// Planes per parameter, asked of the same chain over a tiny model.
StatusOr<int64_t> chain_planes(const SimulationConfig& config) {
  constexpr int64_t kParams = 16;
  Layout layout;
  layout.add("probe", {kParams}, TensorRole::kMatrix);
  RUBATO_ASSIGN_OR_RETURN(
      auto chain, OuterChain::make(config.chain, layout,
                                   {.num_workers = config.num_workers, .num_params = kParams}));
  PlaneFloatCounter counter;
  chain->walk_state(counter);
  return counter.floats / kParams;
}

// What a worker keeps of its codec: error feedback and one encoding; 0 where deltas are sent as
// they lie in memory.
StatusOr<int64_t> codec_bytes(const SimulationConfig& config, int64_t num_params) {
  RUBATO_ASSIGN_OR_RETURN(const Codecs codecs, make_codecs(config));
  if (codecs.up->lossless()) return 0;
  constexpr int64_t kFeedbackPlanes = 2;  // residual and candidate
  return kFeedbackPlanes * num_params * static_cast<int64_t>(sizeof(float)) +
         codecs.up->encoded_bytes(num_params);
}

std::string gibibytes(int64_t bytes) {
  constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
  return cat(static_cast<double>(bytes) / kGib, " GiB");
}

// What the executors' engines take beside parameters and state; 0 where nobody predicts it.
int64_t engine_bytes(const SimulationConfig& config, const Workload& workload) {
  const auto* model = dynamic_cast<const LmWorkload*>(&workload);
  if (model == nullptr) return 0;
  const int64_t one =
      predict_memory_bytes(model->engine_options(config.worker.batch_sequences, config.threads)) -
      (1 + workload.optimizer().num_planes()) * workload.layout().size() *
          static_cast<int64_t>(sizeof(float));
  return one * std::min<int64_t>(config.threads, static_cast<int64_t>(config.fleet.size()));
}

int64_t evaluator_bytes(const SimulationConfig& config, const Workload& workload) {
  const auto* model = dynamic_cast<const LmWorkload*>(&workload);
  return model == nullptr ? 0 : evaluator_memory_bytes(*model, config.threads);
}

// A bound that looks at nothing but the number of parameters: theta, its copy, and two planes a
// worker.
int64_t least_bytes(const SimulationConfig& config, const Workload& workload) {
  return (2 + 2 * static_cast<int64_t>(config.fleet.size())) * workload.layout().size() *
         static_cast<int64_t>(sizeof(float));
}

Status too_little(const SimulationConfig& config, const Workload& workload, int64_t available,
                  const std::string& wanted) {
  const auto* model = dynamic_cast<const LmWorkload*>(&workload);
  const bool helps = model != nullptr && !model->engine_options(1, 1).recompute;
  const size_t workers = config.fleet.size();
  return absl::ResourceExhaustedError(cat(
      "[memory] got ", gibibytes(available), ", want ", wanted, " for ", workload.layout().size(),
      " parameters on ", workers, workers == 1 ? " worker" : " workers",
      "; take a smaller model or fewer workers", helps ? ", or train.recompute = true" : ""));
}

}  // namespace

StatusOr<int64_t> phase_bytes(const SimulationConfig& config, const Workload& workload) {
  RUBATO_ASSIGN_OR_RETURN(const int64_t chain, chain_planes(config));
  const auto workers = static_cast<int64_t>(config.fleet.size());
  // Parameters and their base, of each task in flight.
  const auto tasks =
      static_cast<int64_t>(config.coordinator.overlap == Overlap::kNone ? 1 : kMostTasksInFlight);
  const int64_t per_worker = 2 * tasks + workload.optimizer().num_planes();
  // Theta and its published copy.
  RUBATO_ASSIGN_OR_RETURN(const int64_t codec, codec_bytes(config, workload.layout().size()));
  return (2 + chain + workers * per_worker) * workload.layout().size() *
             static_cast<int64_t>(sizeof(float)) +
         workers * codec + engine_bytes(config, workload) + evaluator_bytes(config, workload);
}

StatusOr<int64_t> worker_bytes(const SimulationConfig& config, const Workload& workload) {
  // Copy and base. What is sent as it lies in memory is copied for sending nevertheless.
  const int64_t planes = 2 + workload.optimizer().num_planes();
  const int64_t num_params = workload.layout().size();
  RUBATO_ASSIGN_OR_RETURN(const int64_t codec, codec_bytes(config, num_params));
  const int64_t plane_bytes = num_params * static_cast<int64_t>(sizeof(float));
  SimulationConfig one = config;
  one.fleet.resize(1);
  return planes * plane_bytes + (codec > 0 ? codec : plane_bytes) + engine_bytes(one, workload);
}

Status check_memory(const SimulationConfig& config, const Workload& workload, int64_t available) {
  if (available < 0) return absl::OkStatus();
  // What a step takes is found by laying it out, which takes memory too: not for what cannot be.
  if (const int64_t least = least_bytes(config, workload); least > available)
    return too_little(config, workload, available, cat("at least ", gibibytes(least)));
  RUBATO_ASSIGN_OR_RETURN(const int64_t wanted, phase_bytes(config, workload));
  if (wanted <= available) return absl::OkStatus();
  return too_little(config, workload, available, gibibytes(wanted));
}

}  // namespace rubato
