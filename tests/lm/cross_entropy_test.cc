// The head alone, where a row's shift has to rise between its tiles: loss and gradients against
// plain sums in double.
#include "rubato/lm/cross_entropy.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "rubato/base/rng.h"
#include "rubato/lm/gemm.h"

namespace rubato {
namespace {

constexpr int64_t kRows = 4, kWidth = 5, kVocab = 1700;  // four tiles, the last one short

// Row 0 meets no surprise; the others have one or two entries in later tiles that stand 40 to 300
// above all before, once in the last column, so that their shifts rise once or twice.
std::vector<float> weights() {
  Rng rng(3, RngStream::kTest);
  std::vector<float> weight(kVocab * kWidth);
  for (float& value : weight) value = static_cast<float>(rng.normal());
  for (int64_t v = 0; v < kVocab; ++v)
    for (int64_t row = 1; row < kRows; ++row) weight[v * kWidth + row] = 0;
  weight[600 * kWidth + 1] = 40;
  weight[1100 * kWidth + 1] = 43;  // within the headroom of the one before
  weight[700 * kWidth + 2] = 60;
  weight[1650 * kWidth + 2] = 120;
  weight[(kVocab - 1) * kWidth + 3] = 300;
  return weight;
}

// Row r looks at column r of the weights, and a little at column 0.
std::vector<float> inputs() {
  std::vector<float> x(kRows * kWidth, 0.0f);
  for (int64_t r = 0; r < kRows; ++r) {
    x[r * kWidth] = 0.7f;
    if (r > 0) x[r * kWidth + r] = 1.0f;
  }
  return x;
}

TEST(CrossEntropy, AShiftThatRisesBetweenTilesKeepsTheGradient) {
  const SingleThreadedGemm single;
  const std::vector<float> weight = weights(), x = inputs();
  const std::vector<int32_t> targets = {5, 1100, 700, 1};
  constexpr float kScale = 0.25f;
  // A model around the head: tied, so that the head is the first tensor of its parameters.
  const ModelConfig model = {.layers = 1,
                             .width = kWidth,
                             .heads = 1,
                             .kv_heads = 1,
                             .head_dim = 2,
                             .ffn = 1,
                             .vocab = kVocab};
  const Layout layout = model_layout(model);
  const ModelOffsets offsets(model, layout);
  ASSERT_EQ(offsets.head, 0);
  std::vector<float> params = weight;
  params.resize(static_cast<size_t>(layout.size()));
  Carver measure(nullptr);
  ForwardWeights(model, offsets, measure);
  CrossEntropy(kRows, kWidth, kVocab, true, measure);
  Arena arena = Arena::allocate(measure.used()).value();
  Carver carver(arena.data());
  const ForwardWeights transposed(model, offsets, carver);
  for (int64_t i = 0; i < transposed.num_pieces(); ++i) transposed.make(params.data(), i);
  CrossEntropy head(kRows, kWidth, kVocab, true, carver);
  Multiplier multiply(Products::kFp32, 0, 0, carver);
  std::vector<float> dx(kRows * kWidth, -1.0f), dweight(kVocab * kWidth, -1.0f);
  const double loss =
      head.loss_and_gradient(multiply, kRows, x.data(), transposed, weight.data(), targets.data(),
                             kScale, true, dx.data(), dweight.data());
  EXPECT_EQ(head.loss(multiply, kRows, x.data(), transposed, targets.data()), loss);

  double want_loss = 0;
  std::vector<double> want_dx(kRows * kWidth), want_dweight(kVocab * kWidth);
  for (int64_t r = 0; r < kRows; ++r) {
    std::vector<double> logit(kVocab);
    double top = -INFINITY, sum = 0;
    for (int64_t v = 0; v < kVocab; ++v) {
      for (int64_t i = 0; i < kWidth; ++i) {
        logit[v] +=
            static_cast<double>(x[r * kWidth + i]) * static_cast<double>(weight[v * kWidth + i]);
      }
      top = std::max(top, logit[v]);
    }
    for (const double l : logit) sum += std::exp(l - top);
    want_loss += top + std::log(sum) - logit[targets[r]];
    for (int64_t v = 0; v < kVocab; ++v) {
      const double slope = static_cast<double>(kScale) *
                           (std::exp(logit[v] - top) / sum - (v == targets[r] ? 1.0 : 0.0));
      for (int64_t i = 0; i < kWidth; ++i) {
        want_dx[r * kWidth + i] += slope * static_cast<double>(weight[v * kWidth + i]);
        want_dweight[v * kWidth + i] += slope * static_cast<double>(x[r * kWidth + i]);
      }
    }
  }
  EXPECT_NEAR(loss, want_loss, 1e-5 * want_loss);
  for (size_t i = 0; i < dx.size(); ++i)
    EXPECT_NEAR(dx[i], want_dx[i], 1e-5 * (1 + std::abs(want_dx[i]))) << "dx " << i;
  for (size_t i = 0; i < dweight.size(); ++i)
    ASSERT_NEAR(dweight[i], want_dweight[i], 2e-6) << "dweight " << i;
}

}  // namespace
}  // namespace rubato
