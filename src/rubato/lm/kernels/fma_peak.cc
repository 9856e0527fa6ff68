#include "rubato/lm/kernels/fma_peak.h"

#include "rubato/lm/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rubato/lm/kernels/fma_peak.cc"
#include "hwy/foreach_target.h"

#include "rubato/lm/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rubato::kernels::HWY_NAMESPACE {

double run_fma_loop_impl(int64_t rounds) {
  // More sums than latency times throughput on any processor, fewer than its registers.
  constexpr int kSums = 12;
  const Wide d;
  const auto shrink = hn::Set(d, 0.999f), push = hn::Set(d, 1e-3f);
  hn::Vec<Wide> sums[kSums];
#pragma GCC unroll 12
  for (int i = 0; i < kSums; ++i) sums[i] = hn::Set(d, static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = hn::MulAdd(sums[i], shrink, push);
  }
  auto total = hn::Zero(d);
#pragma GCC unroll 12
  for (int i = 0; i < kSums; ++i) total = hn::Add(total, sums[i]);
  // The sums must be looked at, or the loop is nothing to the compiler.
  const double seen = static_cast<double>(hn::GetLane(hn::SumOfLanes(d, total)));
  const double flops = 2.0 * kSums * static_cast<double>(lanes(d)) * static_cast<double>(rounds);
  return seen == seen ? flops : 0;
}

}  // namespace rubato::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rubato::kernels {

HWY_EXPORT(run_fma_loop_impl);

double run_fma_loop(int64_t rounds) { return HWY_DYNAMIC_DISPATCH(run_fma_loop_impl)(rounds); }

}  // namespace rubato::kernels
#endif  // HWY_ONCE
