// buffer: collects N pseudo-gradients and lets their mean through (FedBuff with a terminal rule).
//   arrival 1: sum = g    arrivals 2 .. N-1: sum += g    arrival N: g = (sum + g)/N, theta moves
// N = `size`, else the number of workers. For the free and grace gates; a barrier's group
// arrives as one mean already and wants no buffer.
// Source: arXiv:2106.06639; a baseline of arXiv:2401.09135.
// State: 1 P (sum; stale between a release and the next arrival) and the arrivals collected.
// Invariant: N arrivals = one arrival of their mean; N = 1 changes no bit (Buffer.* in links_test).
#include "rubato/base/multiversion.h"
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

RUBATO_MULTIVERSION void store(float* __restrict sum, const float* __restrict g, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] = g[i];
}

RUBATO_MULTIVERSION void collect(float* __restrict sum, const float* __restrict g, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] += g[i];
}

RUBATO_MULTIVERSION void release(float* out, const float* sum, const float* g, int64_t n,
                                 float inverse_n) {
  RUBATO_INDEPENDENT_LOOP
  for (int64_t i = 0; i < n; ++i) out[i] = (sum[i] + g[i]) * inverse_n;
}

class Buffer final : public OuterStage {
 public:
  Buffer(int64_t size, int64_t num_params)
      : size_(size), sum_(size > 1 ? static_cast<size_t>(num_params) : 0) {}
  int64_t arrivals_per_step() const override { return size_; }
  void walk_state(StateWalk& walk) override {
    walk.plane("sum", sum_);
    walk.counter("collected", collected_);
  }
  /// a = arrivals before this one.
  StagePlan plan(const UpdateFacts&) override {
    StagePlan plan{.a = static_cast<double>(collected_)};
    collected_ = (collected_ + 1) % size_;
    plan.hold = collected_ != 0;
    return plan;
  }
  void apply(Block& block, const StagePlan& plan) override {
    if (size_ == 1) return;
    float* sum = sum_.data() + block.offset;
    if (!plan.hold) {
      const auto inverse_n = static_cast<float>(1.0 / static_cast<double>(size_));
      release(block.scratch, sum, block.g, block.size, inverse_n);
      block.g = block.scratch;
    } else if (plan.a == 0) {
      store(sum, block.g, block.size);
    } else {
      collect(sum, block.g, block.size);
    }
  }

 private:
  int64_t size_;            // N
  int64_t collected_ = 0;   // arrivals since the last release, in [0, N)
  std::vector<float> sum_;  // [P], or nothing when N = 1
};

StatusOr<std::unique_ptr<OuterStage>> make_buffer(const Options& options,
                                                  const OuterContext& context) {
  return std::make_unique<Buffer>(arrivals_or_workers(options, "size", context),
                                  context.num_params);
}

}  // namespace

extern const OuterEntry kBufferEntry = {
    {{"buffer",
      "collects N pseudo-gradients and passes their mean on",
      "every N-th arrival: g = mean of the last N; other arrivals: theta stays",
      "arXiv:2106.06639; arXiv:2401.09135, asynchronous baselines",
      {arrivals_option("size", "N, deltas that make one mean; without it the number of workers")}},
     make_buffer},
    StageKind::kLink};

}  // namespace rubato
