// The language model over prepared text, as the rest of the program sees it.
#include "rubato/lm/lm_workload.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "rubato/base/flat_ops.h"
#include "rubato/base/rng.h"
#include "rubato/lm/score.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/text/prepare.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {
namespace {

constexpr int64_t kLength = 24;

// Lines of a few made-up words: something to learn in a few steps.
std::string documents(int64_t count) {
  const std::vector<std::string> words = {"slow", "quick", "andante", "time", "steals", "gives"};
  Rng rng(1, RngStream::kTest);
  std::string text;
  for (int64_t i = 0; i < count; ++i) {
    text += "{\"text\": \"";
    for (int j = 0; j < 30; ++j) text += words[rng.below(words.size())] + " ";
    text += "\"}\n";
  }
  return text;
}

std::shared_ptr<const TokenDataset> dataset(int64_t shards = 2, double validation = 0.2) {
  static MemoryFileSystem files;
  const std::string out = cat("/out", shards, "-", validation);
  if (!files.exists(out)) {
    RUBATO_CHECK(files.make_directories("/in").ok());
    RUBATO_CHECK(files.replace_file("/in/text.jsonl", documents(60)).ok());
    PrepareOptions options;
    options.inputs = {"/in/text.jsonl"};
    options.out_dir = out;
    options.shards = shards;
    options.validation_fraction = validation;
    const auto summary = prepare_text(files, options);
    RUBATO_CHECK(summary.ok(), std::string(summary.status().message()));
  }
  return TokenDataset::open(files, out).value();
}

ModelConfig model() {
  return {.layers = 2,
          .width = 32,
          .heads = 2,
          .kv_heads = 1,
          .head_dim = 16,
          .ffn = 48,
          .vocab = dataset()->vocab_size()};
}

std::shared_ptr<const InnerOptimizer> adamw() {
  const InnerEntry* entry =
      find_entry<InnerEntry>("test", "inner optimizer", inner_entries(), "adamw").value();
  return entry->make(Options::resolve("test", entry->options, {}).value()).value();
}

StatusOr<std::unique_ptr<LmWorkload>> make(ModelConfig config = model(),
                                           std::shared_ptr<const TokenDataset> text = dataset(),
                                           int64_t length = kLength) {
  return LmWorkload::make(config, std::move(text),
                          {.sequence_length = length, .optimizer = adamw()});
}

TEST(LmWorkload, CountsSequencesOfShards) {
  const auto workload = make().value();
  const auto text = dataset();
  const std::vector<int64_t> sequences = workload->shard_sequences();
  ASSERT_EQ(sequences.size(), 2u);
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_GT(sequences[i], 10);
    EXPECT_EQ(sequences[i], (text->shard_tokens(ShardId(i)) - 1) / kLength);
  }
  EXPECT_EQ(workload->tokens_per_sequence(), kLength);
  EXPECT_GT(workload->flops_per_token(), 6.0 * 32 * 100);
}

std::unique_ptr<LmWorkload> with_lanes(int lanes) {
  return LmWorkload::make(model(), dataset(),
                          {.sequence_length = kLength, .lanes = lanes, .optimizer = adamw()})
      .value();
}

std::vector<SequenceRef> batch_of(int64_t step, int64_t size) {
  std::vector<SequenceRef> batch;
  for (int64_t i = 0; i < size; ++i) batch.push_back({ShardId(i % 2), (step * size + i) % 40});
  return batch;
}

// Steps by the halves: each trainer makes the gradient of its part, the first has the sum. Parts
// are cut and added as island/shared_batch.h says, here for two.
std::vector<float> train_in_two_parts(const LmWorkload& workload, int64_t batch_size, int steps) {
  const int64_t cut = (batch_size + 1) / 2;
  const auto first = workload.make_trainer(cut, 1).value();
  const auto second = workload.make_trainer(cut, 2).value();
  std::vector<float> params(workload.layout().size());
  workload.initialise(7, params);
  InnerState state = workload.optimizer().make_state(workload.layout().size());
  for (int64_t step = 0; step < steps; ++step) {
    const std::vector<SequenceRef> batch = batch_of(step, batch_size);
    StepHalves& halves = *first->halves();
    StepResult sum = halves.part_gradient(params, std::span(batch).first(cut), batch_size, 1);
    const StepResult other =
        second->halves()->part_gradient(params, std::span(batch).subspan(cut), batch_size, 2);
    add_scaled(1.0f, second->halves()->gradient(), halves.gradient());
    sum.loss += other.loss;
    sum.tokens += other.tokens;
    EXPECT_EQ(sum.tokens, batch_size * kLength);
    EXPECT_GT(halves.update(params, state, sum, 1e-2, 1).grad_norm, 0);
  }
  EXPECT_EQ(state.steps, steps);
  return params;
}

std::vector<float> train_whole(const LmWorkload& workload, int64_t batch_size, int steps) {
  const auto trainer = workload.make_trainer(batch_size, 1).value();
  std::vector<float> params(workload.layout().size());
  workload.initialise(7, params);
  InnerState state = workload.optimizer().make_state(workload.layout().size());
  for (int64_t step = 0; step < steps; ++step)
    trainer->step(params, state, batch_of(step, batch_size), 1e-2, 1);
  return params;
}

TEST(LmWorkload, TwoPartsOfABatchAreTheBitsOfTwiceTheLanes) {
  EXPECT_EQ(train_in_two_parts(*with_lanes(2), 8, 25), train_whole(*with_lanes(4), 8, 25));
  EXPECT_EQ(train_in_two_parts(*with_lanes(1), 6, 25), train_whole(*with_lanes(2), 6, 25));
}

// Other lanes, or parts that lanes do not divide: another order of the same sum.
TEST(LmWorkload, PartsOfABatchAreTheWholeToRounding) {
  for (const int64_t batch_size : {8, 5}) {
    const std::vector<float> whole = train_whole(*with_lanes(2), batch_size, 5);
    const std::vector<float> parts = train_in_two_parts(*with_lanes(2), batch_size, 5);
    EXPECT_NE(parts, whole);
    std::vector<float> difference(whole.size());
    subtract(whole, parts, difference);
    EXPECT_LT(l2_norm(difference), 1e-5 * l2_norm(whole)) << batch_size;
  }
}

TEST(LmWorkload, TrainsAndEvaluatesToTheSameBitsForAnyThreads) {
  const auto workload = make().value();
  const int64_t size = workload->layout().size();
  std::vector<float> reference;
  EvalResult reference_eval;
  for (int threads : {1, 2, 3}) {
    std::vector<float> params(size);
    workload->initialise(7, params);
    InnerState state = workload->optimizer().make_state(size);
    const EvalResult before = workload->evaluate(params, threads).value();
    EXPECT_NEAR(before.loss_nats, std::log(static_cast<double>(model().vocab)), 0.2);
    const auto trainer = workload->make_trainer(6, threads).value();
    for (int64_t step = 0; step < 25; ++step) {
      std::vector<SequenceRef> batch;
      for (int64_t i = 0; i < 5; ++i) batch.push_back({ShardId(i % 2), (step * 5 + i) % 40});
      const StepResult result = trainer->step(params, state, batch, 1e-2, threads);
      ASSERT_TRUE(std::isfinite(result.loss));
      EXPECT_EQ(result.tokens, 5 * kLength);
    }
    EXPECT_EQ(state.steps, 25);
    const EvalResult after = workload->evaluate(params, threads).value();
    EXPECT_LT(after.loss_nats, before.loss_nats - 1.5);
    const auto text = dataset();
    EXPECT_NEAR(after.bits_per_byte,
                after.loss_nats / std::log(2.0) * static_cast<double>(text->validation_tokens()) /
                    static_cast<double>(text->validation_bytes()),
                1e-9);
    if (threads == 1) {
      reference = params;
      reference_eval = after;
    }
    EXPECT_EQ(params, reference);
    EXPECT_EQ(after.loss_nats, reference_eval.loss_nats);
  }
}

// A process that ends does not wait for an evaluation.
TEST(LmWorkload, AStoppedEvaluationSaysSo) {
  const auto workload = make().value();
  std::vector<float> params(workload->layout().size());
  workload->stop_evaluating();
  EXPECT_TRUE(absl::IsCancelled(workload->evaluate(params, 1).status()));
}

TEST(LmWorkload, RefusesAVocabularyThatIsNotTheTexts) {
  ModelConfig config = model();
  config.vocab = 300;
  const Status status = make(config).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const std::string message(status.message());
  EXPECT_NE(message.find("got 300, want 259"), std::string::npos) << message;
}

TEST(LmWorkload, RefusesAShardWithoutASequence) {
  const Status status = make(model(), dataset(), 1 << 20).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find("shard"), std::string::npos);
}

TEST(LmWorkload, RefusesTextWithoutAValidationSequence) {
  const Status status = make(model(), dataset(2, 0.0)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const std::string message(status.message());
  EXPECT_NE(message.find("validation text: got 0 tokens, want more than"), std::string::npos);
}

TEST(LmWorkload, RefusesAShapeWhoseSizeHasNoNumber) {
  ModelConfig config;
  config.layers = 1024;
  config.width = config.ffn = config.heads = config.kv_heads = config.head_dim = 1'000'000;
  const Status refused = validate(config);
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_NE(refused.message().find("[model] got about "), std::string::npos) << refused;
}

TEST(LmWorkload, RefusesATrainerThatDoesNotFit) {
  const auto workload = make().value();
  const int64_t batch = int64_t{1} << 40;
  EXPECT_EQ(workload->make_trainer(batch, 1).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(LmWorkload, ForecastCoversTheEngineAndTheWorker) {
  EngineOptions options = make().value()->engine_options(8, 2);
  const int64_t forecast = predict_memory_bytes(options);
  EXPECT_GE(forecast, Engine::memory_bytes(options) + 3 * 4 * model_layout(model()).size());
  options.lanes = 4;
  EXPECT_GT(predict_memory_bytes(options), forecast);
  options.lanes = 2;
  options.recompute = true;
  EXPECT_LT(predict_memory_bytes(options), forecast);
}

TEST(ScoreTokens, IsTheMeanOverEveryTokenButTheFirst) {
  const ModelConfig config = model();
  const Layout layout = model_layout(config);
  std::vector<float> params(layout.size());
  initialise_model(config, layout, 3, params);
  std::vector<int32_t> tokens(2 * kLength + 8);
  Rng rng(4, RngStream::kTest);
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.below(200));
  const EvalResult got = score_tokens(config, params, tokens, kLength, 2).value();
  EXPECT_EQ(got.tokens, 2 * kLength + 7);
  double sum = 0;
  for (const auto& [begin, length] :
       {std::pair<int64_t, int64_t>{0, kLength}, {kLength, kLength}, {2 * kLength, 7}}) {
    const auto engine =
        Engine::make({.model = config, .sequence_length = length, .backward = false}).value();
    engine->add_losses(params, std::span(tokens).subspan(begin, length + 1), 1, sum);
  }
  EXPECT_NEAR(got.loss_nats, sum / static_cast<double>(got.tokens), 1e-12);
  EXPECT_EQ(score_tokens(config, params, tokens, kLength, 1).value().loss_nats, got.loss_nats);
  EXPECT_EQ(score_tokens(config, params, std::span(tokens).first(1), kLength, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  tokens[5] = 5000;
  EXPECT_EQ(score_tokens(config, params, tokens, kLength, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace rubato
