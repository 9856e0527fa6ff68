// How fast the training engine is, beside what this processor could do at that moment. Peak and
// steps are measured in turns within one run, because a shared machine moves by tens of percent
// from minute to minute: the ratio is the figure, the rest is context.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/lm/model_config.h"
#include "rubato/lm/products.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {

struct EngineShape {
  std::string name;
  ModelConfig model;
  int64_t batch = 16;             // [sequences]
  int64_t sequence_length = 128;  // T
  float parameter_scale = 1;      // of the initial parameters
};

struct EngineRow {
  std::string name;
  Products products = Products::kFp32;
  int threads = 1;
  double tokens_per_s = 0;    // of the median step
  double gflops = 0;          // by model_flops_per_token
  double peak_gflops = 0;     // best register-only loop of all threads, before and after
  double peak_change = 0;     // [1] |after - before| / best: above 0.03 the run was disturbed
  double share_of_peak = 0;   // gflops / peak_gflops, the peak of fp32 whatever `products` says
  double step_ms_median = 0;  // whole steps, optimizer included
  double step_ms_best = 0;
  int64_t steps = 0;            // measured
  int64_t memory_bytes = 0;     // engine, parameters and optimizer state
  std::vector<double> part_ms;  // of a step on each thread, by StepPart; the rest is waiting
};

struct EngineBenchOptions {
  int threads = 2;
  double seconds = 3;  // of measured steps a shape; at least twenty steps are taken
  Products products = Products::kFp32;  // of the training engine
};

/// Width 128: a, a4096 (pieces), and tiny, which is a with parameters whose products are denormal;
/// width 64: demo, the recipe's; width 256 and 32000 pieces: b, b2048 (its sequence length); width
/// 896: c, and 150m, the preset.
std::vector<EngineShape> engine_bench_shapes();

/// [GFLOP/s] of the register-only loop on `threads` threads at once, best of several tries.
double measure_fma_peak(int threads);

/// One row a shape, in order. ResourceExhausted when a shape does not fit in memory,
/// FailedPrecondition for products that this processor does not have.
StatusOr<std::vector<EngineRow>> bench_engine(std::span<const EngineShape> shapes,
                                              std::shared_ptr<const InnerOptimizer> optimizer,
                                              const EngineBenchOptions& options);

}  // namespace rubato
