#include "rubato/lm/kernels/streams.h"

#include "rubato/lm/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rubato/lm/kernels/streams.cc"
#include "hwy/foreach_target.h"

#include "rubato/lm/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rubato::kernels::HWY_NAMESPACE {

void add_to_impl(int64_t n, const float* x, float* y) {
  map(n, [&](auto d, int64_t i)
             HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, y + i); });
}

double sum_of_squares_impl(int64_t n, const float* x) {
  // Short runs in float, their totals in double: 256 squares lose no digit that a norm needs.
  constexpr int64_t kRun = 256;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kRun) {
    const float* run = x + begin;
    total += static_cast<double>(
        sum(n - begin < kRun ? n - begin : kRun, [&](auto d, int64_t i) HWY_ATTR {
          const auto v = hn::LoadU(d, run + i);
          return hn::Mul(v, v);
        }));
  }
  return total;
}

}  // namespace rubato::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rubato::kernels {

HWY_EXPORT(add_to_impl);
HWY_EXPORT(sum_of_squares_impl);

void add_to(int64_t n, const float* x, float* y) { HWY_DYNAMIC_DISPATCH(add_to_impl)(n, x, y); }

double sum_of_squares(int64_t n, const float* x) {
  return HWY_DYNAMIC_DISPATCH(sum_of_squares_impl)(n, x);
}

}  // namespace rubato::kernels
#endif  // HWY_ONCE
