// Slices of the toy network: two small matrix products a slice and thin loops around them.
#include "rubato/lm/toy_network.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "rubato/base/multiversion.h"
#include "rubato/lm/gemm.h"

namespace rubato {
namespace {

using Wide = float __attribute__((vector_size(64)));
constexpr int64_t kLanes = 16;

// logits[c] = sum_u a[u] * w[c][u] for one point; sixteen sums in fixed order.
RUBATO_MULTIVERSION
void relu_and_logits(int64_t units, float* __restrict a, const float* __restrict w, int64_t stride,
                     float* __restrict logits) {
  for (int64_t u = 0; u < units; ++u) a[u] = a[u] > 0 ? a[u] : 0.0F;
  Wide sums[kToyClasses] = {};
  int64_t u = 0;
  for (; u + kLanes <= units; u += kLanes) {
    Wide activations;
    std::memcpy(&activations, a + u, sizeof activations);
    for (int64_t c = 0; c < kToyClasses; ++c) {
      Wide weights;
      std::memcpy(&weights, w + c * stride + u, sizeof weights);
      sums[c] += activations * weights;
    }
  }
  for (int64_t c = 0; c < kToyClasses; ++c) {
    float sum = 0;
    for (int64_t lane = 0; lane < kLanes; ++lane) sum += sums[c][lane];
    for (int64_t rest = u; rest < units; ++rest) sum += a[rest] * w[c * stride + rest];
    logits[c] = sum;
  }
}

// One point's part of the gradients of W2 and b1; its activations become their gradient.
RUBATO_MULTIVERSION
void add_thin_gradients(int64_t units, const float* __restrict d, const float* __restrict w,
                        int64_t stride, float* __restrict a, float* __restrict bias,
                        float* __restrict out, int64_t out_stride) {
  static_assert(kToyClasses == 4);
  const float d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
  const float *w0 = w, *w1 = w + stride, *w2 = w + 2 * stride, *w3 = w + 3 * stride;
  for (int64_t c = 0; c < kToyClasses; ++c) {
    float* __restrict row = out + c * out_stride;
    for (int64_t u = 0; u < units; ++u) row[u] += d[c] * a[u];
  }
  for (int64_t u = 0; u < units; ++u) {
    const float slope = (d0 * w0[u] + d1 * w1[u]) + (d2 * w2[u] + d3 * w3[u]);
    a[u] = a[u] > 0 ? slope : 0.0F;
    bias[u] += a[u];
  }
}

RUBATO_MULTIVERSION
double sum_of_squares(int64_t size, const float* __restrict x) {
  constexpr int64_t kRun = 512;
  double total = 0;
  for (int64_t begin = 0; begin < size; begin += kRun) {
    const int64_t end = std::min(size, begin + kRun);
    Wide sums[4] = {};
    int64_t i = begin;
    for (; i + 4 * kLanes <= end; i += 4 * kLanes) {
      for (int64_t k = 0; k < 4; ++k) {
        Wide values;
        std::memcpy(&values, x + i + k * kLanes, sizeof values);
        sums[k] += values * values;
      }
    }
    const Wide sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (int64_t lane = 0; lane < kLanes; ++lane) total += static_cast<double>(sum[lane]);
    for (; i < end; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return total;
}

}  // namespace

ToySlice ToyShape::slice(int64_t index) const {
  const int64_t begin = index * kToySliceUnits;
  return {index, begin, std::min(kToySliceUnits, hidden - begin)};
}

Layout ToyShape::layout() const {
  Layout layout;
  layout.add("hidden.weight", {hidden, inputs}, TensorRole::kMatrix);
  layout.add("hidden.bias", {hidden}, TensorRole::kBias);
  layout.add("output.weight", {kToyClasses, hidden}, TensorRole::kMatrix);
  layout.add("output.bias", {kToyClasses}, TensorRole::kBias);
  return layout;
}

void toy_forward(const ToyShape& shape, const ToySlice& slice, const float* params, const float* x,
                 int64_t batch, float* activations, float* logits) {
  const int64_t units = slice.units;
  const float* bias = params + shape.hidden_bias(slice.begin);
  for (int64_t b = 0; b < batch; ++b) std::copy_n(bias, units, activations + b * units);
  gemm_nt(batch, units, shape.inputs, x, shape.inputs, params + shape.hidden_weight(slice.begin),
          shape.inputs, 1.0F, activations, units);
  for (int64_t b = 0; b < batch; ++b) {
    relu_and_logits(units, activations + b * units, params + shape.output_weight(0, slice.begin),
                    shape.hidden, logits + b * kToyClasses);
  }
}

void toy_backward(const ToyShape& shape, const ToySlice& slice, const float* params, const float* x,
                  int64_t batch, const float* logits_gradient, float* activations,
                  const ToyGradient& out) {
  const int64_t units = slice.units;
  std::fill_n(out.hidden_bias, units, 0.0F);
  for (int64_t c = 0; c < kToyClasses; ++c)
    std::fill_n(out.output_weight + c * out.output_stride, units, 0.0F);
  for (int64_t b = 0; b < batch; ++b) {
    add_thin_gradients(units, logits_gradient + b * kToyClasses,
                       params + shape.output_weight(0, slice.begin), shape.hidden,
                       activations + b * units, out.hidden_bias, out.output_weight,
                       out.output_stride);
  }
  gemm_tn(units, shape.inputs, batch, activations, units, x, shape.inputs, 0.0F, out.hidden_weight,
          shape.inputs);
}

double toy_cross_entropy(std::span<const double, kToyClasses> logits, int64_t label, double weight,
                         float* gradient) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double logit : logits) sum += std::exp(logit - top);
  if (gradient != nullptr) {
    for (int64_t c = 0; c < kToyClasses; ++c) {
      const double share = std::exp(logits[c] - top) / sum;
      gradient[c] = static_cast<float>(weight * (share - (c == label ? 1.0 : 0.0)));
    }
  }
  return std::log(sum) - (logits[label] - top);
}

double toy_sum_of_squares(std::span<const float> x) {
  return sum_of_squares(static_cast<int64_t>(x.size()), x.data());
}

}  // namespace rubato
