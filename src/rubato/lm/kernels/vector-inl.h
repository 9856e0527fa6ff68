// Building blocks that every kernel source compiles once per instruction set: loops over flat
// ranges with a one-lane tail, fixed-order reductions, and exp.
//
// A body is called as body(tag, i) with a tag of full width, then lane by lane for the tail, so it
// must be written for any tag. Reductions keep four partial vectors and add them in fixed order:
// the result depends on the values and the instruction set, never on alignment.

#if defined(RUBATO_LM_KERNELS_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RUBATO_LM_KERNELS_VECTOR_INL_H_
#undef RUBATO_LM_KERNELS_VECTOR_INL_H_
#else
#define RUBATO_LM_KERNELS_VECTOR_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace rubato::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that buffers padded to 16 floats hold whole vectors of every target.
using Wide = hn::CappedTag<float, 16>;
using One = hn::CappedTag<float, 1>;

template <class D>
HWY_INLINE int64_t lanes(D d) {
  return static_cast<int64_t>(hn::Lanes(d));
}

/// body(tag, i) over [0, n).
template <class Body>
HWY_INLINE void map(int64_t n, const Body& body) {
  const Wide d;
  const One one;
  const int64_t step = lanes(d);
  int64_t i = 0;
  for (; i + step <= n; i += step) body(d, i);
  for (; i < n; ++i) body(one, i);
}

/// Sum over [0, n) of the vectors that body(tag, i) returns.
template <class Body>
HWY_INLINE float sum(int64_t n, const Body& body) {
  const Wide d;
  const One one;
  const int64_t step = lanes(d);
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    s0 = hn::Add(s0, body(d, i));
    s1 = hn::Add(s1, body(d, i + step));
    s2 = hn::Add(s2, body(d, i + 2 * step));
    s3 = hn::Add(s3, body(d, i + 3 * step));
  }
  for (; i + step <= n; i += step) s0 = hn::Add(s0, body(d, i));
  auto tail = hn::Zero(one);
  for (; i < n; ++i) tail = hn::Add(tail, body(one, i));
  s0 = hn::Add(hn::Add(s0, s1), hn::Add(s2, s3));
  return hn::GetLane(hn::SumOfLanes(d, s0)) + hn::GetLane(tail);
}

/// Largest of x[0, n); n >= 1. A NaN may be passed over: it shows in the sum of exponentials.
HWY_INLINE float largest(const float* HWY_RESTRICT x, int64_t n) {
  const Wide d;
  const int64_t step = lanes(d);
  float best = x[0];
  int64_t i = 0;
  if (n >= step) {
    auto m0 = hn::LoadU(d, x), m1 = m0;
    i = step;
    for (; i + 2 * step <= n; i += 2 * step) {
      m0 = hn::Max(m0, hn::LoadU(d, x + i));
      m1 = hn::Max(m1, hn::LoadU(d, x + i + step));
    }
    for (; i + step <= n; i += step) m0 = hn::Max(m0, hn::LoadU(d, x + i));
    best = hn::GetLane(hn::MaxOfLanes(d, hn::Max(m0, m1)));
  }
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

/// exp(x) to about 2 ulp for x in [-87.3, 88]; outside it stays at the value of that bound, so it
/// neither overflows nor makes denormals. NaN stays NaN. Polynomial: Cephes expf (S. Moshier).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_of(D d, V x) {
  // The bound comes first in Min and Max: x86 returns the second operand when one is NaN. The
  // portable target would return the number.
  const V given = x;
  x = hn::Max(hn::Set(d, -87.3f), hn::Min(hn::Set(d, 88.0f), x));
  const hn::RebindToSigned<D> di;
  // x = n ln 2 + r. Adding 1.5 * 2^23 rounds to an integer and leaves it in the lowest bits, from
  // where a shift makes it the exponent; the 127 more are the exponent's bias.
  const V shift = hn::Set(d, 12582912.0f + 127.0f);
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504088896341f), shift);
  const V n = hn::Sub(shifted, shift);
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  V p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::MulAdd(p, hn::Mul(r, r), hn::Add(r, hn::Set(d, 1.0f)));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const V result = hn::Mul(p, hn::BitCast(d, exponent));
  if constexpr (HWY_TARGET == HWY_SCALAR) return hn::IfThenElse(hn::IsNaN(given), given, result);
  return result;
}

/// 1 / (1 + exp(-x)).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid_of(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, exp_of(d, hn::Neg(x))));
}

}  // namespace rubato::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
