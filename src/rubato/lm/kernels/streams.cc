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

#if HWY_TARGET != HWY_SCALAR
using Four = hn::CappedTag<float, 4>;

// A square of four, in registers.
HWY_INLINE void transpose_four(const float* HWY_RESTRICT from, int64_t from_stride,
                               float* HWY_RESTRICT to, int64_t to_stride) {
  const Four d;
  const hn::Repartition<double, Four> pairs;
  const auto a = hn::LoadU(d, from), b = hn::LoadU(d, from + from_stride);
  const auto c = hn::LoadU(d, from + 2 * from_stride), e = hn::LoadU(d, from + 3 * from_stride);
  const auto ab_low = hn::BitCast(pairs, hn::InterleaveLower(d, a, b));
  const auto ab_high = hn::BitCast(pairs, hn::InterleaveUpper(d, a, b));
  const auto ce_low = hn::BitCast(pairs, hn::InterleaveLower(d, c, e));
  const auto ce_high = hn::BitCast(pairs, hn::InterleaveUpper(d, c, e));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, ab_low, ce_low)), d, to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, ab_low, ce_low)), d, to + to_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, ab_high, ce_high)), d, to + 2 * to_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, ab_high, ce_high)), d, to + 3 * to_stride);
}

#endif

// Sixteen rows at a time, so that whole cache lines are written.
void transpose_impl(int64_t rows, int64_t cols, const float* from, int64_t from_stride, float* to,
                    int64_t to_stride) {
  constexpr int64_t kRows = 16;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
    for (; c + 4 <= cols; c += 4) {
      for (int64_t i = 0; i < kRows; i += 4) {
        transpose_four(from + (r + i) * from_stride + c, from_stride, to + c * to_stride + r + i,
                       to_stride);
      }
    }
#endif
    for (; c < cols; ++c) {
      for (int64_t i = 0; i < kRows; ++i)
        to[c * to_stride + r + i] = from[(r + i) * from_stride + c];
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) to[c * to_stride + r] = from[r * from_stride + c];
  }
}

// In integers: what is cut off decides, together with the last bit that stays, whether that one
// grows. A NaN could so become an infinity, or zero, and gets its quiet bit instead.
void to_bf16_row(int64_t n, const float* HWY_RESTRICT from, uint16_t* HWY_RESTRICT to) {
  map(n, [&](auto d, int64_t i) HWY_ATTR {
    using D = decltype(d);
    const hn::RebindToUnsigned<D> bits;
    const hn::RebindToSigned<D> integers;
    const hn::Rebind<uint16_t, D> halves;
    const auto value = hn::LoadU(d, from + i);
    const auto whole = hn::BitCast(bits, value);
    const auto upper = hn::ShiftRight<16>(whole);
    const auto last = hn::And(upper, hn::Set(bits, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(whole, hn::Add(last, hn::Set(bits, 0x7FFF))));
    const auto quiet = hn::Or(upper, hn::Set(bits, 0x40));
    const auto is_nan = hn::RebindMask(bits, hn::IsNaN(value));
    const auto kept = hn::IfThenElse(is_nan, quiet, rounded);
    hn::StoreU(hn::DemoteTo(halves, hn::BitCast(integers, kept)), halves, to + i);
  });
}

void to_bf16_impl(int64_t rows, int64_t cols, const float* from, int64_t from_stride,
                  uint16_t* to) {
  if (from_stride == cols) return to_bf16_row(rows * cols, from, to);
  for (int64_t r = 0; r < rows; ++r) to_bf16_row(cols, from + r * from_stride, to + r * cols);
}

}  // namespace rubato::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rubato::kernels {

HWY_EXPORT(add_to_impl);
HWY_EXPORT(sum_of_squares_impl);
HWY_EXPORT(transpose_impl);
HWY_EXPORT(to_bf16_impl);

void add_to(int64_t n, const float* x, float* y) { HWY_DYNAMIC_DISPATCH(add_to_impl)(n, x, y); }

double sum_of_squares(int64_t n, const float* x) {
  return HWY_DYNAMIC_DISPATCH(sum_of_squares_impl)(n, x);
}

void transpose(int64_t rows, int64_t cols, const float* from, int64_t from_stride, float* to,
               int64_t to_stride) {
  HWY_DYNAMIC_DISPATCH(transpose_impl)(rows, cols, from, from_stride, to, to_stride);
}

void to_bf16(int64_t rows, int64_t cols, const float* from, int64_t from_stride, uint16_t* to) {
  HWY_DYNAMIC_DISPATCH(to_bf16_impl)(rows, cols, from, from_stride, to);
}

}  // namespace rubato::kernels
#endif  // HWY_ONCE
