// The reference model is right by itself: its gradient is that of its loss (central differences),
// and its loss is that of the model meant (conventions of rotation, grouping and causality, and
// figures of another implementation).
#include "tests/lm/reference_model.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "tests/lm/reference_blocks.h"
#include <gtest/gtest.h>

namespace rubato::reference {
namespace {

struct Shape {
  const char* name;
  ModelConfig config;
  int64_t sequences, length;
  friend std::ostream& operator<<(std::ostream& out, const Shape& s) { return out << s.name; }
};

ModelConfig tiny(int64_t layers, int64_t width, int64_t heads, int64_t kv_heads, int64_t head_dim,
                 int64_t ffn, int64_t vocab, bool tied) {
  return {.layers = layers,
          .width = width,
          .heads = heads,
          .kv_heads = kv_heads,
          .head_dim = head_dim,
          .ffn = ffn,
          .vocab = vocab,
          .tied = tied};
}

// Odd on purpose: H*E != D, T odd, V prime, one query head per kv head up to all on one.
const std::vector<Shape> kShapes = {
    {"Plain", tiny(1, 8, 2, 2, 4, 12, 11, true), 2, 5},
    {"GroupedUntied", tiny(2, 6, 4, 2, 2, 7, 13, false), 1, 7},
    {"OneKvHeadWideAttention", tiny(2, 5, 3, 1, 6, 9, 7, true), 3, 3},
    {"OnePrediction", tiny(1, 3, 1, 1, 2, 1, 5, false), 1, 1},
    {"NarrowAttention", tiny(3, 9, 2, 1, 2, 5, 17, false), 2, 9},
};

class FiniteDifferences : public ::testing::TestWithParam<Shape> {};

// Fourth order: (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h.
double derivative(const Model& model, std::vector<double>& params, int64_t i,
                  std::span<const int32_t> tokens) {
  constexpr double kStep = 2e-4;
  const double at = params[i];
  const auto loss = [&](double offset) {
    params[i] = at + offset;
    return model.loss(params, tokens);
  };
  const double near = loss(kStep) - loss(-kStep), far = loss(2 * kStep) - loss(-2 * kStep);
  params[i] = at;
  return (8 * near - far) / (12 * kStep);
}

TEST_P(FiniteDifferences, AgreeWithTheGradientOfEveryTensor) {
  const Shape& shape = GetParam();
  const Model model(shape.config, shape.length);
  std::vector<double> params = widen(lively_params(model.layout(), 1, 0.5));
  const auto tokens = random_tokens(shape.config.vocab, shape.sequences, shape.length, 2);
  std::vector<double> gradient(params.size());
  EXPECT_NEAR(model.loss_and_gradient(params, tokens, gradient), model.loss(params, tokens), 1e-14);
  for (const TensorSpec& tensor : model.layout().tensors()) {
    double error = 0, size = 0;
    for (int64_t i = tensor.offset; i < tensor.offset + tensor.size; ++i) {
      const double expected = derivative(model, params, i, tokens);
      error += (gradient[i] - expected) * (gradient[i] - expected);
      size += expected * expected;
    }
    // One position attends to itself alone, so its queries and keys have no gradient at all.
    EXPECT_LE(std::sqrt(error), 1e-8 * std::sqrt(size) + 1e-12) << tensor.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, FiniteDifferences, ::testing::ValuesIn(kShapes),
                         [](const auto& shape) { return std::string(shape.param.name); });

TEST(ReferenceModel, AgreesWithFiguresOfPyTorch) {
  const ModelConfig config = tiny(2, 6, 4, 2, 4, 7, 13, false);
  const Model model(config, 5);
  std::vector<double> params(static_cast<size_t>(model.layout().size())), gradient(params.size());
  for (size_t i = 0; i < params.size(); ++i)
    params[i] = 0.5 * std::sin(static_cast<double>(i * i % 1009));
  const std::vector<int32_t> tokens = {1, 12, 5, 5, 0, 7, 3, 3, 9, 11, 2, 12};
  double squares = 0;
  // torch_reference.py on the same parameters and tokens.
  EXPECT_NEAR(model.loss_and_gradient(params, tokens, gradient), 2.628911089077943, 1e-12);
  for (double g : gradient) squares += g * g;
  EXPECT_NEAR(std::sqrt(squares), 0.6519025439263967, 1e-12);
}

TEST(ReferenceModel, ZeroHeadPredictsUniformly) {
  const Model model(tiny(1, 4, 2, 1, 2, 5, 7, false), 3);
  std::vector<double> params = widen(lively_params(model.layout(), 3, 0.5));
  const TensorSpec& head = *model.layout().find("lm_head.weight");
  std::fill_n(params.begin() + head.offset, head.size, 0.0);
  EXPECT_NEAR(model.loss(params, random_tokens(7, 2, 3, 4)), std::log(7.0), 1e-14);
}

TEST(ReferenceModel, LaterTokensDoNotReachEarlierPredictions) {
  const Model model(tiny(2, 6, 2, 1, 4, 5, 11, true), 6);
  const std::vector<double> params = widen(lively_params(model.layout(), 5, 0.5));
  std::vector<int32_t> tokens = random_tokens(11, 1, 6, 6);
  const std::vector<double> before = model.token_losses(params, tokens);
  tokens[4] = (tokens[4] + 1) % 11;  // the target of prediction 3, the input of prediction 4
  const std::vector<double> after = model.token_losses(params, tokens);
  for (int64_t t = 0; t < 3; ++t) EXPECT_EQ(before[t], after[t]) << t;
  for (int64_t t = 3; t < 6; ++t) EXPECT_GT(std::abs(before[t] - after[t]), 1e-6) << t;
}

TEST(ReferenceModel, GroupedQueriesReadTheirGroupsKeyAndValueHead) {
  ModelConfig config = tiny(1, 6, 4, 2, 4, 5, 11, true);
  const Model grouped(config, 5);
  config.kv_heads = 4;
  const Model full(config, 5);
  const std::vector<double> params = widen(lively_params(grouped.layout(), 7, 0.5));
  std::vector<double> copied(static_cast<size_t>(full.layout().size()));
  for (const TensorSpec& to : full.layout().tensors()) {
    const TensorSpec& from = *grouped.layout().find(to.name);
    const int64_t head = config.head_dim * config.width;  // floats of one head's rows
    for (int64_t i = 0; i < to.size; ++i) {
      const int64_t source = from.size == to.size ? i : i / head / 2 * head + i % head;
      copied[to.offset + i] = params[from.offset + source];
    }
  }
  const std::vector<int32_t> tokens = random_tokens(11, 2, 5, 8);
  EXPECT_NEAR(grouped.loss(params, tokens), full.loss(copied, tokens), 1e-14);
}

TEST(ReferenceModel, RotationPairsHalvesOfEveryHead) {
  Matrix x(3, 8);  // two heads of 4; theta 100, so the second pair turns a tenth as fast
  x.at(2, 0) = 1;
  x.at(2, 5) = 1;
  rotate(x, 4, 100.0, +1);
  EXPECT_NEAR(x.at(2, 0), std::cos(2.0), 1e-15);
  EXPECT_NEAR(x.at(2, 2), std::sin(2.0), 1e-15);
  EXPECT_NEAR(x.at(2, 5), std::cos(0.2), 1e-15);
  EXPECT_NEAR(x.at(2, 7), std::sin(0.2), 1e-15);
  for (int64_t i : {1, 3, 4, 6}) EXPECT_EQ(x.at(2, i), 0) << i;
}

TEST(ReferenceAdamW, FirstStepMovesByTheRateAndDecaysMatricesOnly) {
  Layout layout;
  layout.add("matrix", {2}, TensorRole::kMatrix);
  layout.add("embedding", {1}, TensorRole::kEmbedding);
  layout.add("norm", {1}, TensorRole::kNorm);
  std::vector<double> params = {1, -2, 3, 4};
  const std::vector<double> gradient = {0.3, -0.1, 0.2, 0.1};
  AdamW optimizer;
  EXPECT_NEAR(optimizer.step(layout, gradient, 0.01, params), std::sqrt(0.15), 1e-15);
  // Bias correction makes the first direction g / (|g| + eps); decay is lr * 0.1 * param.
  EXPECT_NEAR(params[0], 1 - 0.01 - 0.001, 1e-8);
  EXPECT_NEAR(params[1], -2 + 0.01 + 0.002, 1e-8);
  EXPECT_NEAR(params[2], 3 - 0.01 - 0.003, 1e-8);
  EXPECT_NEAR(params[3], 4 - 0.01, 1e-8);
}

TEST(ReferenceAdamW, ClipsTheGlobalNormAndCorrectsTheSecondStep) {
  Layout layout;
  layout.add("norm", {2}, TensorRole::kNorm);
  std::vector<double> params = {0, 0};
  AdamW optimizer;
  EXPECT_DOUBLE_EQ(optimizer.step(layout, std::vector<double>{3, 4}, 0.01, params), 5);
  EXPECT_NEAR(optimizer.first[0], 0.1 * 0.6, 1e-15);
  EXPECT_NEAR(optimizer.second[1], 0.05 * 0.64, 1e-15);
  const double before = params[0];
  EXPECT_DOUBLE_EQ(optimizer.step(layout, std::vector<double>{0, 0.5}, 0.01, params), 0.5);
  // first = 0.9*0.06, second = 0.95*0.018; corrections 1 - 0.81 and 1 - 0.9025.
  const double direction = 0.054 / 0.19 / (std::sqrt(0.0171 / 0.0975) + 1e-8);
  EXPECT_NEAR(params[0], before - 0.01 * direction, 1e-15);
}

}  // namespace
}  // namespace rubato::reference
