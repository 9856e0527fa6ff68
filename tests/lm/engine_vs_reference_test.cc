// The engine against the double-precision reference: loss, every tensor of the gradient and logits
// on odd shapes, fixed and random; a training curve; inputs that tempt softmax and norms into NaN.
#include <algorithm>
#include <cmath>
#include <memory>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "tests/lm/instruction_sets.h"
#include "tests/lm/reference_model.h"
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "rubato/base/flat_ops.h"
#include "rubato/lm/engine.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {
namespace {

constexpr double kRelative = 1e-4;  // the bound, tensor by tensor
constexpr double kFloor = 1e-6;     // times the whole gradient's norm where that is above 1

struct Case {
  std::string name;
  ModelConfig config;
  int64_t sequences, length;
  int lanes, threads;
  int64_t spare = 0;  // sequences that the engine has room for beyond the batch
  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    const ModelConfig& m = c.config;
    return out << c.name << " L" << m.layers << " D" << m.width << " H" << m.heads << " K"
               << m.kv_heads << " E" << m.head_dim << " F" << m.ffn << " V" << m.vocab
               << (m.tied ? " tied" : " untied") << " B" << c.sequences << " T" << c.length
               << " lanes " << c.lanes << " threads " << c.threads << " spare " << c.spare;
  }
};

ModelConfig shape(int64_t layers, int64_t width, int64_t heads, int64_t kv_heads, int64_t head_dim,
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

std::unique_ptr<Engine> make_engine(const Case& c,
                                    std::shared_ptr<const InnerOptimizer> optimizer = nullptr) {
  StatusOr<std::unique_ptr<Engine>> engine = Engine::make({.model = c.config,
                                                           .sequence_length = c.length,
                                                           .max_batch = c.sequences + c.spare,
                                                           .lanes = c.lanes,
                                                           .threads = c.threads,
                                                           .optimizer = std::move(optimizer)});
  RUBATO_CHECK(engine.ok(), engine.status().message());
  return std::move(engine).value();
}

// Matrices like those of a trained model: products keep the size of what goes in.
std::vector<float> params_for(const Case& c, uint64_t seed) {
  return reference::lively_params(model_layout(c.config), seed,
                                  1 / std::sqrt(static_cast<double>(c.config.width)));
}

// What differs between engine and reference, in words; empty when nothing does.
std::string compare(const Case& c, std::span<const float> params, std::span<const int32_t> tokens) {
  const std::unique_ptr<Engine> engine = make_engine(c);
  const reference::Model model(c.config, c.length);
  std::vector<double> gradient(params.size());
  const double loss = model.loss_and_gradient(reference::widen(params), tokens, gradient);
  // Another batch first, as full as it gets: nothing of it may be left in the next one.
  const int64_t room = c.sequences + c.spare;
  engine->loss_and_gradient(params, reference::random_tokens(c.config.vocab, room, c.length, 1),
                            c.threads);
  const StepResult result = engine->loss_and_gradient(params, tokens, c.threads);
  std::string found;
  if (!(std::abs(result.loss - loss) <= 1e-5 * loss + 1e-6))
    found += cat("loss: got ", result.loss, ", want ", loss, "\n");
  if (result.tokens != c.sequences * c.length) found += cat("tokens: got ", result.tokens, "\n");
  double squares = 0;
  for (double g : gradient) squares += g * g;
  const double norm = std::sqrt(squares);
  const double floor = kFloor * std::max(1.0, norm);
  if (!(std::abs(result.grad_norm - norm) <= kRelative * norm + floor))
    found += cat("norm: got ", result.grad_norm, ", want ", norm, "\n");
  double sum = 0;
  engine->add_losses(params, tokens, c.threads, sum);
  if (!(std::abs(sum / static_cast<double>(result.tokens) - loss) <= 1e-5 * loss + 1e-6))
    found += cat("sum of losses: got ", sum, ", want ", loss, " times ", result.tokens, "\n");
  return found +
         reference::disagreements(model.layout(), engine->gradient(), gradient, kRelative, floor);
}

class EngineShapes : public ::testing::TestWithParam<std::tuple<int64_t, Case>> {};

TEST_P(EngineShapes, LossAndEveryTensorsGradientAgreeWithTheReference) {
  const auto& [target, c] = GetParam();
  const InstructionSet set(target);
  const auto tokens = reference::random_tokens(c.config.vocab, c.sequences, c.length, 2);
  EXPECT_EQ(compare(c, params_for(c, 1), tokens), "") << c;
}

INSTANTIATE_TEST_SUITE_P(
    Fixed, EngineShapes,
    ::testing::Combine(
        ::testing::ValuesIn(instruction_sets()),
        ::testing::Values(
            Case{"Smallest", shape(1, 1, 1, 1, 2, 1, 1, true), 1, 1, 1, 1},
            Case{"OnePrediction", shape(2, 5, 2, 1, 2, 3, 7, false), 3, 1, 2, 1},
            Case{"Plain", shape(2, 32, 4, 4, 8, 48, 64, true), 4, 16, 2, 2},
            Case{"Grouped", shape(3, 33, 6, 2, 10, 37, 101, true), 5, 17, 2, 2},
            Case{"OneKvHeadUntied", shape(2, 19, 5, 1, 6, 23, 53, false), 7, 31, 3, 2},
            Case{"AttentionWiderThanModel", shape(1, 24, 3, 3, 34, 40, 97, true), 2, 33, 2, 1},
            Case{"AttentionNarrowerThanModel", shape(2, 70, 2, 1, 18, 29, 211, false), 3, 65, 1, 1},
            Case{"LongSequence", shape(1, 16, 2, 1, 16, 20, 31, true), 2, 389, 2, 2},
            Case{"LargeHeads", shape(1, 20, 2, 2, 128, 24, 41, false), 1, 70, 2, 2},
            Case{"LargeVocabulary", shape(1, 12, 2, 1, 6, 16, 9001, true), 2, 21, 2, 2},
            Case{"ManyRowsAndLargeVocabulary", shape(1, 6, 1, 1, 4, 8, 2503, false), 9, 77, 2, 2},
            Case{"LanesShareASequence", shape(2, 20, 6, 3, 6, 24, 41, false), 1, 70, 3, 2},
            Case{"MoreLanesThanRowsOrHeads", shape(2, 20, 2, 1, 6, 24, 41, true), 1, 20, 6, 2},
            Case{"FewerSequencesThanLanes", shape(1, 10, 2, 2, 4, 12, 29, true), 2, 9, 5, 2, 6})),
    [](const auto& named) {
      return cat(std::get<Case>(named.param).name,
                 instruction_set_name(std::get<int64_t>(named.param)));
    });

RC_GTEST_PROP(EngineProperty, AgreesWithTheReferenceOnRandomShapes, ()) {
  const auto draw = [](int low, int high) { return int64_t{*rc::gen::inRange(low, high + 1)}; };
  Case c;
  const int64_t kv_heads = draw(1, 3);
  // Width 16 at least: RMSNorm of a few numbers now and then meets a row that is nearly zero, and
  // then rounding the parameters alone moves the gradient by more than the bound.
  c.config = shape(draw(1, 3), draw(16, 70), kv_heads * draw(1, 3), kv_heads, 2 * draw(1, 20),
                   draw(1, 90), draw(2, 300), *rc::gen::arbitrary<bool>());
  c.config.rope_theta = *rc::gen::element(100.0, 10000.0, 500000.0);
  c.sequences = draw(1, 5);
  c.length = draw(1, 70);
  c.lanes = static_cast<int>(draw(1, 4));
  c.threads = static_cast<int>(draw(1, 2));
  c.spare = draw(0, 3);
  const auto seed = *rc::gen::inRange<uint64_t>(0, 1000);
  const int64_t target = *rc::gen::elementOf(instruction_sets());
  const InstructionSet set(target);
  RC_LOG() << c << " " << instruction_set_name(target) << "\n";
  const auto tokens = reference::random_tokens(c.config.vocab, c.sequences, c.length, seed);
  RC_ASSERT(compare(c, params_for(c, seed), tokens) == "");
}

TEST(Engine, EightThousandPositionsAgreeInMemoryThatGrowsByTheirNumberOnly) {
  const Case c{"", shape(1, 16, 1, 1, 4, 8, 17, true), 1, 8192, 1, 1};
  EXPECT_EQ(compare(c, params_for(c, 1), reference::random_tokens(17, 1, c.length, 2)), "");
  EngineOptions options{.model = c.config, .sequence_length = c.length, .lanes = 1};
  const int64_t memory = Engine::memory_bytes(options);
  options.sequence_length *= 2;
  EXPECT_LT(Engine::memory_bytes(options), 2.01 * static_cast<double>(memory));
}

TEST(Engine, LogitsGiveTheReferencesTokenLosses) {
  const Case c{"", shape(2, 21, 4, 2, 6, 25, 37, false), 1, 13, 1, 1};
  const std::vector<float> params = params_for(c, 3);
  const auto tokens = reference::random_tokens(c.config.vocab, 1, c.length, 4);
  std::vector<float> logits(static_cast<size_t>(c.length * c.config.vocab));
  make_engine(c)->logits(params, tokens, logits);
  const std::vector<double> losses =
      reference::Model(c.config, c.length).token_losses(reference::widen(params), tokens);
  for (int64_t t = 0; t < c.length; ++t) {
    const float* row = logits.data() + t * c.config.vocab;
    double sum = 0;
    for (int64_t v = 0; v < c.config.vocab; ++v) sum += std::exp(static_cast<double>(row[v]));
    EXPECT_NEAR(std::log(sum) - row[tokens[t + 1]], losses[t], 1e-5) << t;
  }
}

TEST(Engine, AdamWCurveStaysWithTheReferenceFor200Steps) {
  const Case c{"", shape(2, 24, 4, 2, 6, 40, 31, true), 4, 15, 2, 2};
  const reference::Model model(c.config, c.length);
  const Layout& layout = model.layout();
  std::vector<float> params(static_cast<size_t>(layout.size()));
  initialise_model(c.config, layout, 5, params);
  std::vector<double> exact = reference::widen(params), gradient(params.size());
  const StatusOr<const InnerEntry*> entry =
      find_entry<InnerEntry>("test", "optimizer", inner_entries(), "adamw");
  ASSERT_TRUE(entry.ok()) << entry.status();
  const std::shared_ptr<const InnerOptimizer> optimizer =
      (*entry)->make(Options::resolve("test", (*entry)->options, {}).value()).value();
  InnerState state = optimizer->make_state(layout.size());
  reference::AdamW exact_optimizer;
  const std::unique_ptr<Engine> engine = make_engine(c, optimizer);

  double first = 0, last = 0;
  for (uint64_t step = 0; step < 200; ++step) {
    // Counting upwards with random starts and a rare slip: something a model can learn.
    std::vector<int32_t> tokens = reference::random_tokens(31, c.sequences, c.length, 100 + step);
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i % 16 != 0 && tokens[i] != 0) tokens[i] = (tokens[i - 1] + 1) % 31;
    }
    const double lr = 3e-3 * std::min(1.0, static_cast<double>(step + 1) / 20);
    const double want = model.loss_and_gradient(exact, tokens, gradient);
    const double want_norm = exact_optimizer.step(layout, gradient, lr, exact);
    const StepResult got = engine->step(params, state, tokens, lr, c.threads);
    ASSERT_NEAR(got.loss, want, 1e-4) << "step " << step;
    ASSERT_NEAR(got.grad_norm, want_norm, 1e-3 * want_norm) << "step " << step;
    (step == 0 ? first : last) = want;
  }
  EXPECT_EQ(state.steps, 200);
  EXPECT_NEAR(first, std::log(31.0), 0.1);
  EXPECT_LT(last, 1.0) << "the curve compared must be one of learning";
}

TEST(Engine, EqualTokensAgreeAndGiveNoNaN) {
  const Case c{"", shape(2, 12, 2, 1, 4, 14, 19, true), 3, 21, 2, 1};
  const std::vector<int32_t> tokens(static_cast<size_t>(c.sequences * (c.length + 1)), 7);
  EXPECT_EQ(compare(c, params_for(c, 6), tokens), "");
}

TEST(Engine, ZeroParametersGiveTheUniformLossAndNoNaN) {
  const Case c{"", shape(1, 8, 2, 2, 4, 12, 17, true), 2, 5, 1, 1};
  const std::vector<float> params(static_cast<size_t>(model_layout(c.config).size()), 0.0f);
  EXPECT_EQ(compare(c, params, reference::random_tokens(17, 2, 5, 7)), "");
}

// Scales one tensor, so that logits or attention scores become huge.
std::vector<float> with_scaled(const Case& c, const std::string& name, float factor) {
  std::vector<float> params = params_for(c, 8);
  const Layout layout = model_layout(c.config);
  const TensorSpec* tensor = layout.find(name);
  RUBATO_CHECK(tensor != nullptr, name);
  for (int64_t i = 0; i < tensor->size; ++i) params[tensor->offset + i] *= factor;
  return params;
}

class HugeTensor : public ::testing::TestWithParam<std::string> {};

// Sums of a thousand times the usual size round a thousand times coarser, and a softmax that is
// nearly hard magnifies that: the loss still agrees relatively, the gradient is only finite.
TEST_P(HugeTensor, KeepsLossRightAndGradientFinite) {
  const Case c{"", shape(1, 24, 2, 1, 8, 30, 600, false), 2, 40, 2, 2};
  const std::vector<float> params = with_scaled(c, GetParam(), 2000);
  const auto tokens = reference::random_tokens(c.config.vocab, c.sequences, c.length, 9);
  const double want = reference::Model(c.config, c.length).loss(reference::widen(params), tokens);
  const std::unique_ptr<Engine> engine = make_engine(c);
  const StepResult got = engine->loss_and_gradient(params, tokens, c.threads);
  EXPECT_NEAR(got.loss, want, 1e-4 * want);
  EXPECT_TRUE(all_finite(engine->gradient()));
}

INSTANTIATE_TEST_SUITE_P(Tensors, HugeTensor,
                         ::testing::Values("lm_head.weight", "model.embed_tokens.weight",
                                           "model.layers.0.self_attn.q_proj.weight",
                                           "model.layers.0.self_attn.v_proj.weight",
                                           "model.layers.0.mlp.gate_proj.weight"),
                         [](const auto& named) {
                           std::string name = named.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace rubato
