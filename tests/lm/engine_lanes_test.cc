// What may change the engine's bits and what may not: threads, repetition and the address of the
// parameters may not; the split into lanes is the recipe's.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "rubato/base/float_env.h"
#include "rubato/base/rng.h"
#include "rubato/lm/engine.h"
#include "rubato/lm/team.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {
namespace {

const ModelConfig kModel = {.layers = 2,
                            .width = 48,
                            .heads = 4,
                            .kv_heads = 2,
                            .head_dim = 18,
                            .ffn = 70,
                            .vocab = 900,
                            .tied = false};
constexpr int64_t kLength = 37;

std::unique_ptr<InnerOptimizer> adamw() {
  for (const InnerEntry* entry : inner_entries()) {
    if (entry->name != "adamw") continue;
    return std::move(entry->make(Options::resolve("test", entry->options, {}).value())).value();
  }
  return nullptr;
}

std::vector<int32_t> random_tokens(int64_t sequences) {
  std::vector<int32_t> tokens(sequences * (kLength + 1));
  Rng rng(5, RngStream::kTest);
  for (int32_t& token : tokens)
    token = static_cast<int32_t>(rng.below(static_cast<uint64_t>(kModel.vocab)));
  return tokens;
}

std::unique_ptr<Engine> make(int lanes, int threads, int64_t max_batch = 11) {
  return Engine::make({.model = kModel,
                       .sequence_length = kLength,
                       .max_batch = max_batch,
                       .lanes = lanes,
                       .threads = threads,
                       .optimizer = adamw()})
      .value();
}

struct Training {
  std::vector<float> params;
  std::vector<double> losses;
  friend bool operator==(const Training&, const Training&) = default;
};

Training train(Engine& engine, int threads, int64_t sequences, int steps) {
  Training run;
  run.params.resize(engine.layout().size());
  initialise_model(kModel, engine.layout(), 3, run.params);
  InnerState state = engine.options().optimizer->make_state(engine.layout().size());
  const std::vector<int32_t> tokens = random_tokens(sequences);
  for (int i = 0; i < steps; ++i) {
    const StepResult result = engine.step(run.params, state, tokens, 1e-2, threads);
    run.losses.push_back(result.loss);
  }
  return run;
}

TEST(EngineLanes, ActivationsMadeAgainAreTheSameBitsInLessMemory) {
  EngineOptions options{
      .model = kModel, .sequence_length = kLength, .max_batch = 11, .optimizer = adamw()};
  options.model.layers = 5;
  const auto keeping = Engine::make(options).value();
  options.recompute = true;
  const auto again = Engine::make(options).value();
  std::vector<float> params(keeping->layout().size());
  initialise_model(options.model, keeping->layout(), 3, params);
  const std::vector<int32_t> tokens = random_tokens(11);
  const StepResult a = keeping->loss_and_gradient(params, tokens, 1);
  const StepResult b = again->loss_and_gradient(params, tokens, 1);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_TRUE(std::ranges::equal(keeping->gradient(), again->gradient()));
  EXPECT_LT(Engine::memory_bytes(again->options()), Engine::memory_bytes(keeping->options()));
}

// With fewer sequences than lanes the lanes share each microbatch.
TEST(EngineLanes, LanesThatShareASequenceGiveTheSameBitsForAnyThreads) {
  for (int lanes : {2, 3, 7}) {
    const Training one = train(*make(lanes, 1, 1), 1, 1, 3);
    for (int threads : {2, 3})
      EXPECT_EQ(train(*make(lanes, threads, 1), threads, 1, 3), one) << lanes << " lanes";
  }
}

TEST(EngineLanes, LanesThatShareASequenceComputeWhatOneLaneDoes) {
  const auto alone = make(1, 1, 1), shared = make(4, 2, 1);
  std::vector<float> params(alone->layout().size());
  initialise_model(kModel, alone->layout(), 3, params);
  const std::vector<int32_t> tokens = random_tokens(1);
  const StepResult a = alone->loss_and_gradient(params, tokens, 1);
  const StepResult b = shared->loss_and_gradient(params, tokens, 2);
  EXPECT_NEAR(a.loss, b.loss, 1e-6);
  EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-5 * a.grad_norm);
}

TEST(EngineLanes, ThreadsNeverChangeABit) {
  for (int lanes : {1, 2, 3}) {
    for (int64_t sequences : {int64_t{1}, int64_t{5}, int64_t{11}}) {
      const Training one = train(*make(lanes, 1), 1, sequences, 3);
      EXPECT_LT(one.losses.back(), one.losses.front());
      for (int threads : {2, 3}) {
        EXPECT_EQ(train(*make(lanes, threads), threads, sequences, 3), one)
            << lanes << " lanes, " << threads << " threads, " << sequences << " sequences";
      }
      EXPECT_EQ(train(*make(lanes, 3), 1, sequences, 3), one) << "one of three threads";
    }
  }
}

TEST(EngineLanes, TheRoomForABatchNeverChangesABit) {
  EXPECT_EQ(train(*make(2, 1, 30), 1, 5, 2), train(*make(2, 1, 5), 1, 5, 2));
}

TEST(EngineLanes, EnginesSideBySideDoNotDisturbEachOther) {
  const Training alone = train(*make(2, 1), 1, 7, 4);
  std::vector<Training> together(3);
  std::vector<std::thread> workers;
  for (Training& result : together)
    workers.emplace_back([&result] { result = train(*make(2, 1), 1, 7, 4); });
  for (std::thread& worker : workers) worker.join();
  for (const Training& result : together) EXPECT_EQ(result, alone);
}

TEST(EngineLanes, TheAddressOfTheParametersNeverChangesABit) {
  const auto engine = make(2, 1);
  const std::vector<int32_t> tokens = random_tokens(4);
  std::vector<float> room(engine->layout().size() + 16);
  std::vector<float> want;
  for (int64_t shift : {0, 1, 5, 16}) {
    const std::span<float> params = std::span(room).subspan(shift, engine->layout().size());
    initialise_model(kModel, engine->layout(), 3, params);
    engine->loss_and_gradient(params, tokens, 1);
    const std::vector<float> got(engine->gradient().begin(), engine->gradient().end());
    if (shift == 0) want = got;
    EXPECT_EQ(got, want) << "shifted by " << shift << " floats";
  }
}

TEST(EngineLanes, LanesAgreeUpToRounding) {
  const Training one = train(*make(1, 1), 1, 10, 1), four = train(*make(4, 2), 2, 10, 1);
  EXPECT_NEAR(one.losses[0], four.losses[0], 1e-6);
  EXPECT_NE(one, four) << "another order of sums should show somewhere";
}

TEST(EngineLanes, LossesAloneAgreeWithTheStepsLossForAnyThreads) {
  const auto engine = make(1, 1);
  std::vector<float> params(engine->layout().size());
  initialise_model(kModel, engine->layout(), 3, params);
  const std::vector<int32_t> tokens = random_tokens(11);
  const double want = engine->loss_and_gradient(params, tokens, 1).loss;
  for (int threads : {1, 2, 3}) {
    const auto forward = Engine::make({.model = kModel,
                                       .sequence_length = kLength,
                                       .max_batch = 11,
                                       .threads = threads,
                                       .backward = false})
                             .value();
    double sum = 0;
    forward->add_losses(params, tokens, threads, sum);
    EXPECT_EQ(sum / (11.0 * kLength), want) << threads << " threads";
  }
}

TEST(EngineLanes, ALossThatIsNotFiniteLeavesEverythingAsItWas) {
  const auto engine = make(2, 2);
  InnerState state = engine->options().optimizer->make_state(engine->layout().size());
  const std::vector<int32_t> tokens = random_tokens(4);
  // One number is enough, where the batch is sure to read it.
  const int64_t read_row = tokens[0] * kModel.width;
  for (const auto& [name, index] :
       {std::pair<const char*, int64_t>{"model.embed_tokens.weight", read_row},
        {"model.layers.1.mlp.up_proj.weight", 0},
        {"model.layers.0.self_attn.k_proj.weight", 5},
        {"lm_head.weight", 7}}) {
    for (float poison :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      std::vector<float> params(engine->layout().size());
      initialise_model(kModel, engine->layout(), 3, params);
      params[engine->layout().find(name)->offset + index] = poison;
      const std::vector<float> before = params;
      const StepResult result = engine->step(params, state, tokens, 1e-2, 2);
      EXPECT_FALSE(std::isfinite(result.loss)) << name << " " << poison;
      EXPECT_EQ(std::memcmp(params.data(), before.data(), params.size() * sizeof(float)), 0)
          << name;
      EXPECT_EQ(state.steps, 0);
      for (const auto& plane : state.planes) {
        for (float value : plane) ASSERT_EQ(value, 0.0f);
      }
    }
  }
}

TEST(EngineTeam, EveryMemberFlushesDenormals) {
  const auto team = Team::make(3).value();
  for (int round = 0; round < 100; ++round) {
    std::vector<int> flushed(3, 0);
    team->run(3, [&](int member) { flushed[member] = denormals_are_flushed() ? 1 : 0; });
    ASSERT_EQ(flushed, (std::vector<int>{1, 1, 1}));
  }
  std::vector<int> ran(3, 0);
  team->run(2, [&](int member) { ran[member] += 1; });
  EXPECT_EQ(ran, (std::vector<int>{1, 1, 0}));
}

TEST(EngineMake, RefusesWhatCannotBe) {
  EXPECT_EQ(Engine::make({.model = kModel, .max_batch = 0}).status().code(),
            absl::StatusCode::kInvalidArgument);
  ModelConfig odd = kModel;
  odd.head_dim = 7;
  EXPECT_EQ(Engine::make({.model = odd}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(EngineMake, RefusesMoreMemoryThanThereIsWithTheNumbers) {
  ModelConfig huge = kModel;
  huge.width = 1 << 17;
  huge.ffn = 1 << 19;
  huge.layers = 100;
  const Status status = Engine::make({.model = huge}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  const std::string message(status.message());
  EXPECT_NE(message.find("MiB available, want "), std::string::npos) << message;
}

}  // namespace
}  // namespace rubato
