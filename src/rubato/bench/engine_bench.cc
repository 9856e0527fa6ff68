#include "rubato/bench/engine_bench.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "rubato/base/rng.h"
#include "rubato/bench/timing.h"
#include "rubato/lm/engine.h"
#include "rubato/lm/kernels/fma_peak.h"
#include "rubato/lm/lm_workload.h"
#include "rubato/lm/team.h"

namespace rubato {
namespace {

constexpr size_t kLeastSteps = 20;
constexpr int kProfiledSteps = 5;

std::vector<int32_t> random_tokens(const EngineShape& shape) {
  std::vector<int32_t> tokens(shape.batch * (shape.sequence_length + 1));
  Rng rng(1, RngStream::kSyntheticData);
  for (int32_t& token : tokens)
    token = static_cast<int32_t>(rng.below(static_cast<uint64_t>(shape.model.vocab)));
  return tokens;
}

StatusOr<EngineRow> bench_shape(const EngineShape& shape,
                                const std::shared_ptr<const InnerOptimizer>& optimizer,
                                const EngineBenchOptions& options) {
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                          Engine::make({.model = shape.model,
                                        .sequence_length = shape.sequence_length,
                                        .max_batch = shape.batch,
                                        .threads = options.threads,
                                        .products = options.products,
                                        .optimizer = optimizer}));
  const int64_t size = engine->layout().size();
  RUBATO_RETURN_IF_ERROR(check_memory(size * (1 + optimizer->num_planes()) * 4));
  std::vector<float> params(size);
  initialise_model(shape.model, engine->layout(), 1, params);
  for (float& value : params) value *= shape.parameter_scale;
  InnerState state = optimizer->make_state(size);
  const std::vector<int32_t> tokens = random_tokens(shape);
  const auto step = [&] {
    const double begin = now_s();
    engine->step(params, state, tokens, 1e-4, options.threads);
    return now_s() - begin;
  };
  step();  // touches what is touched once
  const double before = measure_fma_peak(options.threads);
  std::vector<double> seconds;
  for (double spent = 0; spent < options.seconds || seconds.size() < kLeastSteps;
       spent += seconds.back()) {
    seconds.push_back(step());
  }
  const double after = measure_fma_peak(options.threads);

  // Apart, so that reading clocks disturbs no figure.
  engine->measure_parts(now_ns);
  for (int i = 0; i < kProfiledSteps; ++i) step();

  const double step_s = median(seconds);
  const double step_tokens = static_cast<double>(shape.batch * shape.sequence_length);
  EngineRow row;
  row.name = shape.name;
  row.products = options.products;
  row.threads = options.threads;
  row.tokens_per_s = step_tokens / step_s;
  row.gflops = row.tokens_per_s * model_flops_per_token(shape.model, shape.sequence_length) / 1e9;
  row.peak_gflops = std::max(before, after);
  row.peak_change = std::abs(after - before) / row.peak_gflops;
  row.share_of_peak = row.gflops / row.peak_gflops;
  row.step_ms_median = step_s * 1e3;
  row.step_ms_best = std::ranges::min(seconds) * 1e3;
  row.steps = static_cast<int64_t>(seconds.size());
  row.memory_bytes = predict_memory_bytes(engine->options());
  for (const int64_t ns : engine->part_times())
    row.part_ms.push_back(static_cast<double>(ns) / 1e6 / kProfiledSteps / options.threads);
  return row;
}

}  // namespace

std::vector<EngineShape> engine_bench_shapes() {
  const ModelConfig a = {.vocab = 512};
  ModelConfig a4096 = a;
  a4096.vocab = 4096;
  const ModelConfig b = {.layers = 6,
                         .width = 256,
                         .heads = 4,
                         .kv_heads = 4,
                         .head_dim = 64,
                         .ffn = 704,
                         .vocab = 32000};
  const ModelConfig c = {.layers = 3,
                         .width = 896,
                         .heads = 14,
                         .kv_heads = 14,
                         .head_dim = 64,
                         .ffn = 2368,
                         .vocab = 32000};
  const ModelConfig demo = {.layers = 2,
                            .width = 64,
                            .heads = 2,
                            .kv_heads = 2,
                            .head_dim = 32,
                            .ffn = 192,
                            .vocab = 512};
  ModelConfig large = c;
  large.layers = 12;
  large.heads = large.kv_heads = 16;
  return {{"a", a, 16, 128},         {"tiny", a, 16, 128, 1e-25f},
          {"a4096", a4096, 16, 128}, {"demo", demo, 8, 128},
          {"b", b, 8, 256},          {"b2048", b, 1, 2048},
          {"c", c, 4, 256},          {"150m", large, 4, 256}};
}

double measure_fma_peak(int threads) {
  constexpr int64_t kRounds = 4'000'000;  // about 10 ms
  constexpr int kTries = 7;
  StatusOr<std::unique_ptr<Team>> team = Team::make(threads);
  if (!team.ok()) return 0;
  std::vector<double> flops(threads);
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const double begin = now_s();
    (*team)->run(threads, [&](int member) { flops[member] = kernels::run_fma_loop(kRounds); });
    const double elapsed = now_s() - begin;
    double total = 0;
    for (double done : flops) total += done;
    best = std::max(best, total / elapsed / 1e9);
  }
  return best;
}

StatusOr<std::vector<EngineRow>> bench_engine(std::span<const EngineShape> shapes,
                                              std::shared_ptr<const InnerOptimizer> optimizer,
                                              const EngineBenchOptions& options) {
  std::vector<EngineRow> rows;
  for (const EngineShape& shape : shapes) {
    RUBATO_ASSIGN_OR_RETURN(EngineRow row, bench_shape(shape, optimizer, options));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace rubato
