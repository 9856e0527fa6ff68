// The toy task's network, inputs - hidden - 4 with ReLU, cut into fixed slices of hidden units. A
// slice owns its rows of W1 and b1 and its columns of W2, so its forward and backward passes meet
// other slices only in the logits, which are summed in the order of slices: threads take slices and
// never change a bit, and no thread needs a gradient buffer of the whole model.
//   a = relu(x W1' + b1)        logits = a W2' + b2        loss = mean of -log
//   softmax(logits)[class] Shapes: B points, I inputs, U units of the slice, C = 4 classes.
#pragma once

#include <cstdint>
#include <span>

#include "rubato/base/layout.h"
#include "rubato/lm/toy_data.h"

namespace rubato {

/// Hidden units of a slice: 256 KiB of W1 at 512 inputs, so that the slice's gradient is still in
/// the second-level cache when the optimizer reads it. Part of the bits.
inline constexpr int64_t kToySliceUnits = 128;

struct ToySlice {
  int64_t index, begin, units;
};

/// Where things lie in the flat buffer.
struct ToyShape {
  int64_t inputs = 0, hidden = 0;

  int64_t num_slices() const { return (hidden + kToySliceUnits - 1) / kToySliceUnits; }
  ToySlice slice(int64_t index) const;
  int64_t hidden_weight(int64_t unit) const { return unit * inputs; }
  int64_t hidden_bias(int64_t unit) const { return hidden * inputs + unit; }
  int64_t output_weight(int64_t label, int64_t unit) const {
    return hidden * (inputs + 1) + label * hidden + unit;
  }
  int64_t output_bias() const { return hidden * (inputs + 1 + kToyClasses); }
  /// Tensors `hidden.weight` (H, I), `hidden.bias`, `output.weight` (C, H), `output.bias`.
  Layout layout() const;
};

/// Where a slice's gradient goes.
struct ToyGradient {
  float* hidden_weight;  // (U, I)
  float* hidden_bias;    // (U)
  float* output_weight;  // (C, U), rows `output_stride` apart
  int64_t output_stride;
};

/// The passes call GEMM: hold a SingleThreadedGemm (lm/gemm.h) around them.
/// activations (B, U) from x (B, I), and the slice's part of the logits (B, C), without b2.
void toy_forward(const ToyShape& shape, const ToySlice& slice, const float* params, const float* x,
                 int64_t batch, float* activations, float* logits);

/// The slice's gradient from d loss / d logits (B, C). Overwrites the activations by their
/// gradient.
void toy_backward(const ToyShape& shape, const ToySlice& slice, const float* params, const float* x,
                  int64_t batch, const float* logits_gradient, float* activations,
                  const ToyGradient& out);

/// -log softmax(logits)[label] of one point; its gradient times `weight` goes to `gradient` [C]
/// unless that is null.
double toy_cross_entropy(std::span<const double, kToyClasses> logits, int64_t label, double weight,
                         float* gradient);

/// sum x*x: floats within runs of 512, double over runs; the same bits on every processor.
double toy_sum_of_squares(std::span<const float> x);

}  // namespace rubato
