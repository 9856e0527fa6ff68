// A quick look at the engine without any reference: the loss falls along its own gradient by as
// much as the gradient says, and nothing strange comes of strange inputs.
#include <cmath>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "rubato/base/flat_ops.h"
#include "rubato/base/rng.h"
#include "rubato/lm/engine.h"

namespace rubato {
namespace {

struct Fixture {
  std::unique_ptr<Engine> engine;
  std::vector<float> params;
  std::vector<int32_t> tokens;

  Fixture(const ModelConfig& model, int64_t length, int64_t sequences)
      : engine(Engine::make({.model = model, .sequence_length = length, .max_batch = sequences})
                   .value()),
        params(engine->layout().size()),
        tokens(sequences * (length + 1)) {
    initialise_model(model, engine->layout(), 1, params);
    Rng rng(2, RngStream::kTest);
    for (float& value : params) value += 0.1f * static_cast<float>(rng.normal());
    for (int32_t& token : tokens)
      token = static_cast<int32_t>(rng.below(static_cast<uint64_t>(model.vocab)));
  }
  double loss() { return engine->loss_and_gradient(params, tokens, 1).loss; }
};

TEST(EngineGradient, IsTheSlopeOfTheLoss) {
  for (bool tied : {true, false}) {
    Fixture f({.layers = 2,
               .width = 12,
               .heads = 4,
               .kv_heads = 2,
               .head_dim = 6,
               .ffn = 20,
               .vocab = 30,
               .tied = tied},
              9, 4);
    f.loss();
    const std::vector<float> gradient(f.engine->gradient().begin(), f.engine->gradient().end());
    const std::vector<float> origin = f.params;
    // Tensor by tensor, along that tensor's own gradient.
    for (const TensorSpec& tensor : f.engine->layout().tensors()) {
      const auto slope = std::span(gradient).subspan(tensor.offset, tensor.size);
      const double norm = l2_norm(slope);
      ASSERT_GT(norm, 0) << tensor.name;
      const float step = static_cast<float>(1e-2 / norm);
      double moved[2] = {};
      for (int side : {0, 1}) {
        f.params = origin;
        add_scaled(side == 0 ? -step : step, slope,
                   std::span(f.params).subspan(tensor.offset, tensor.size));
        moved[side] = f.loss();
      }
      EXPECT_NEAR((moved[1] - moved[0]) / 2e-2, norm, 0.01 * norm + 1e-4) << tensor.name;
    }
  }
}

TEST(EngineGradient, StaysFiniteForHugeLogits) {
  Fixture f({.layers = 1, .width = 16, .heads = 2, .kv_heads = 2, .head_dim = 8, .ffn = 24}, 20, 2);
  const TensorSpec* norm = f.engine->layout().find("model.norm.weight");
  for (int64_t i = 0; i < norm->size; ++i) f.params[norm->offset + i] = 3e5f;
  const double loss = f.loss();
  EXPECT_TRUE(std::isfinite(loss));
  EXPECT_GT(loss, 1e3);
  EXPECT_TRUE(all_finite(f.engine->gradient()));
}

TEST(EngineGradient, StaysFiniteWhenEveryTokenIsTheSame) {
  Fixture f({.layers = 2, .width = 16, .heads = 2, .kv_heads = 1, .head_dim = 8, .ffn = 24}, 33, 3);
  f.tokens.assign(f.tokens.size(), 3);
  EXPECT_TRUE(std::isfinite(f.loss()));
  EXPECT_TRUE(all_finite(f.engine->gradient()));
}

TEST(EngineGradient, StaysFiniteWhenTheStreamIsZero) {
  Fixture f({.layers = 1, .width = 16, .heads = 2, .kv_heads = 2, .head_dim = 8, .ffn = 24}, 8, 2);
  f.params.assign(f.params.size(), 0.0f);
  EXPECT_NEAR(f.loss(), std::log(512.0), 1e-6);
  EXPECT_TRUE(all_finite(f.engine->gradient()));
}

}  // namespace
}  // namespace rubato
