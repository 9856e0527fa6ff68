#include "rubato/lm/kernels/decode.h"

#include <algorithm>
#include <cmath>

#include "rubato/lm/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rubato/lm/kernels/decode.cc"
#include "hwy/foreach_target.h"

#include "rubato/lm/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rubato::kernels::HWY_NAMESPACE {

// Four rows at a time keep four streams of memory and four sums in flight.
HWY_INLINE void multiply_four(int64_t cols, const float* HWY_RESTRICT row,
                              const float* HWY_RESTRICT x, float* HWY_RESTRICT out) {
  const Wide d;
  const int64_t step = lanes(d);
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + step <= cols; i += step) {
    const auto v = hn::LoadU(d, x + i);
    s0 = hn::MulAdd(hn::LoadU(d, row + i), v, s0);
    s1 = hn::MulAdd(hn::LoadU(d, row + cols + i), v, s1);
    s2 = hn::MulAdd(hn::LoadU(d, row + 2 * cols + i), v, s2);
    s3 = hn::MulAdd(hn::LoadU(d, row + 3 * cols + i), v, s3);
  }
  out[0] = hn::GetLane(hn::SumOfLanes(d, s0));
  out[1] = hn::GetLane(hn::SumOfLanes(d, s1));
  out[2] = hn::GetLane(hn::SumOfLanes(d, s2));
  out[3] = hn::GetLane(hn::SumOfLanes(d, s3));
  for (; i < cols; ++i) {
    for (int64_t r = 0; r < 4; ++r) out[r] += row[r * cols + i] * x[i];
  }
}

// The same sum of one row, in the same order.
HWY_INLINE float multiply_one(int64_t cols, const float* HWY_RESTRICT row,
                              const float* HWY_RESTRICT x) {
  const Wide d;
  const int64_t step = lanes(d);
  auto s = hn::Zero(d);
  int64_t i = 0;
  for (; i + step <= cols; i += step) s = hn::MulAdd(hn::LoadU(d, row + i), hn::LoadU(d, x + i), s);
  float total = hn::GetLane(hn::SumOfLanes(d, s));
  for (; i < cols; ++i) total += row[i] * x[i];
  return total;
}

void multiply_rows_impl(int64_t begin, int64_t end, int64_t cols, const float* matrix,
                        const float* x, bool accumulate, float* y) {
  int64_t r = begin;
  for (; r + 4 <= end; r += 4) {
    float four[4];
    multiply_four(cols, matrix + r * cols, x, four);
    for (int64_t i = 0; i < 4; ++i) y[r + i] = accumulate ? y[r + i] + four[i] : four[i];
  }
  for (; r < end; ++r) {
    const float one = multiply_one(cols, matrix + r * cols, x);
    y[r] = accumulate ? y[r] + one : one;
  }
}

void attend_impl(int64_t seen, int64_t head_dim, int64_t stride, const float* q, const float* keys,
                 const float* values, float* scores, float* out) {
  for (int64_t t = 0; t < seen; ++t) scores[t] = multiply_one(head_dim, keys + t * stride, q);
  const float top = largest(scores, seen);
  const float total = sum(seen, [&](auto d, int64_t i) HWY_ATTR {
    const auto e = exp_of(d, hn::Sub(hn::LoadU(d, scores + i), hn::Set(d, top)));
    hn::StoreU(e, d, scores + i);
    return e;
  });
  std::fill_n(out, head_dim, 0.0f);
  for (int64_t t = 0; t < seen; ++t) {
    const float weight = scores[t] / total;
    const float* value = values + t * stride;
    map(head_dim, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(hn::MulAdd(hn::Set(d, weight), hn::LoadU(d, value + i), hn::LoadU(d, out + i)), d,
                 out + i);
    });
  }
}

float sum_of_impl(int64_t n, const float* x) {
  return sum(n, [&](auto d, int64_t i) HWY_ATTR { return hn::LoadU(d, x + i); });
}

}  // namespace rubato::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rubato::kernels {

HWY_EXPORT(multiply_rows_impl);
HWY_EXPORT(attend_impl);
HWY_EXPORT(sum_of_impl);

void multiply_rows(int64_t begin, int64_t end, int64_t cols, const float* matrix, const float* x,
                   bool accumulate, float* y) {
  HWY_DYNAMIC_DISPATCH(multiply_rows_impl)(begin, end, cols, matrix, x, accumulate, y);
}

void attend(int64_t seen, int64_t head_dim, int64_t stride, const float* q, const float* keys,
            const float* values, float* scores, float* out) {
  HWY_DYNAMIC_DISPATCH(attend_impl)(seen, head_dim, stride, q, keys, values, scores, out);
}

float sum_of(int64_t n, const float* x) { return HWY_DYNAMIC_DISPATCH(sum_of_impl)(n, x); }

}  // namespace rubato::kernels
#endif  // HWY_ONCE
