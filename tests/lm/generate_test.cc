// Sampling: kept keys and values change nothing, draws follow their options.
#include "rubato/lm/generate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "rubato/base/rng.h"
#include "rubato/lm/engine.h"

namespace rubato {
namespace {

struct Model {
  ModelConfig config;
  std::vector<float> params;

  explicit Model(bool tied, int64_t kv_heads)
      : config{.layers = 2,
               .width = 20,
               .heads = 4,
               .kv_heads = kv_heads,
               .head_dim = 6,
               .ffn = 30,
               .vocab = 41,
               .tied = tied} {
    const Layout layout = model_layout(config);
    params.resize(layout.size());
    initialise_model(config, layout, 4, params);
    Rng rng(9, RngStream::kTest);
    for (float& value : params) value += 0.2f * static_cast<float>(rng.normal());
  }
};

std::vector<int32_t> random_tokens(int64_t count) {
  std::vector<int32_t> tokens(count);
  Rng rng(8, RngStream::kTest);
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.below(41));
  return tokens;
}

TEST(Generate, KeptKeysAndValuesGiveTheLogitsOfAFullPass) {
  for (int64_t kv_heads : {1, 2, 4}) {
    const Model model(kv_heads == 2, kv_heads);
    const int64_t length = 23;
    const std::vector<int32_t> tokens = random_tokens(length + 1);
    const auto engine =
        Engine::make({.model = model.config, .sequence_length = length, .backward = false}).value();
    std::vector<float> want(length * model.config.vocab);
    engine->logits(model.params, tokens, want);
    const auto decoder = IncrementalDecoder::make(model.config, model.params, length, 2).value();
    for (int64_t t = 0; t < length; ++t) {
      const std::span<const float> got = decoder->feed(tokens[t]);
      const float* row = want.data() + t * model.config.vocab;
      for (int64_t v = 0; v < model.config.vocab; ++v)
        ASSERT_NEAR(got[v], row[v], 1e-4) << "position " << t;
      EXPECT_EQ(std::max_element(got.begin(), got.end()) - got.begin(),
                std::max_element(row, row + model.config.vocab) - row);
    }
  }
}

TEST(Generate, GreedyContinuationIsTheArgmaxOfFullPasses) {
  const Model model(true, 2);
  std::vector<int32_t> text = random_tokens(3);
  const std::vector<int32_t> made =
      generate(model.config, model.params, text, 12, {.temperature = 0}, 1).value();
  ASSERT_EQ(made.size(), 12u);
  for (int32_t token : made) {
    const int64_t length = static_cast<int64_t>(text.size());
    const auto engine =
        Engine::make({.model = model.config, .sequence_length = length, .backward = false}).value();
    std::vector<float> logits(length * model.config.vocab);
    std::vector<int32_t> row = text;
    row.push_back(0);
    engine->logits(model.params, row, logits);
    const auto last = logits.end() - model.config.vocab;
    EXPECT_EQ(token, std::max_element(last, logits.end()) - last);
    text.push_back(token);
  }
}

TEST(Generate, TheSameSeedGivesTheSameTextAndAnotherAnother) {
  const Model model(false, 4);
  const std::vector<int32_t> prompt = {1};
  const auto text = [&](uint64_t seed, int threads) {
    return generate(model.config, model.params, prompt, 30, {.temperature = 2.0, .seed = seed},
                    threads)
        .value();
  };
  EXPECT_EQ(text(1, 1), text(1, 1));
  EXPECT_EQ(text(1, 1), text(1, 3));
  EXPECT_NE(text(1, 1), text(2, 1));
}

TEST(Generate, StopsBeforeTheStopToken) {
  const Model model(true, 2);
  const std::vector<int32_t> prompt = {2};
  const auto all = generate(model.config, model.params, prompt, 20, {.temperature = 0}, 1).value();
  const int32_t stop = all[all.size() / 2];
  const auto first = std::find(all.begin(), all.end(), stop);
  const auto cut =
      generate(model.config, model.params, prompt, 20, {.temperature = 0, .stop_token = stop}, 1)
          .value();
  EXPECT_EQ(cut, std::vector<int32_t>(all.begin(), first));
}

TEST(TokenSampler, DrawsByWeight) {
  const std::vector<float> logits = {std::log(1.0f), std::log(5.0f), std::log(4.0f)};
  const auto sample_token = [](const std::vector<float>& from, const SamplingOptions& options,
                               double draw) {
    return TokenSampler(options, static_cast<int64_t>(from.size())).choose(from, draw);
  };
  EXPECT_EQ(sample_token(logits, {.temperature = 0}, 0.99), 1);
  EXPECT_EQ(sample_token(logits, {}, 0.49), 1);
  EXPECT_EQ(sample_token(logits, {}, 0.51), 2);
  EXPECT_EQ(sample_token(logits, {}, 0.91), 0);
  EXPECT_EQ(sample_token(logits, {.top_k = 2}, 0.999), 2);
  EXPECT_EQ(sample_token(logits, {.top_k = 1}, 0.999), 1);
  EXPECT_EQ(sample_token(logits, {.top_k = 99}, 0.999999), 0);
  // The likeliest has half of the weights, the two likeliest nine tenths.
  EXPECT_EQ(sample_token(logits, {.top_p = 0.45}, 0.999), 1);
  EXPECT_EQ(sample_token(logits, {.top_p = 0.55}, 0.999), 2);
  EXPECT_EQ(sample_token(logits, {.top_p = 0.55}, 0.54), 1) << "5 of the 9 that are left";
  EXPECT_EQ(sample_token(logits, {.top_p = 0.95}, 0.999), 0);
  EXPECT_EQ(sample_token(logits, {.top_p = 1e-9}, 0.999), 1);
  EXPECT_EQ(sample_token(logits, {.top_k = 2, .top_p = 0.5}, 0.999), 1) << "of what top_k leaves";
  // Temperature 1/2 squares the weights: 25, 16, 1.
  EXPECT_EQ(sample_token(logits, {.temperature = 0.5}, 0.96), 2);
  EXPECT_EQ(sample_token(logits, {.temperature = 1e-300}, 0.99), 1) << "nearly the likeliest";
  EXPECT_EQ(sample_token(std::vector<float>{1, 1, 1}, {.temperature = 0}, 0.5), 0) << "a tie";
}

TEST(TokenSampler, SortsNoFurtherThanNeededAndDrawsTheSame) {
  std::vector<float> logits(1000);
  Rng rng(2, RngStream::kTest);
  for (float& logit : logits) logit = static_cast<float>(rng.normal());
  // By the definition: everything sorted, running sums of exact weights.
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater(), [&](int32_t token) { return logits[token]; });
  std::vector<double> upto;
  for (int32_t token : order)
    upto.push_back((upto.empty() ? 0 : upto.back()) + std::exp(double{logits[token]}));
  TokenSampler sampler({}, 1000);
  for (int i = 0; i < 2000; ++i) {
    const double draw = (i + 0.5) / 2000;
    const auto at = std::ranges::upper_bound(upto, draw * upto.back()) - upto.begin();
    const int32_t got = sampler.choose(logits, draw);
    // Rounding may move a draw that lies on a border to a neighbour.
    const bool near = (at > 0 && got == order[at - 1]) || got == order[at] ||
                      (at + 1 < 1000 && got == order[at + 1]);
    EXPECT_TRUE(near) << draw;
  }
}

TEST(Generate, TellsEachTokenAndEndsWhereItIsAskedTo) {
  const Model model(true, 2);
  const std::vector<int32_t> prompt = {1, 2};
  std::vector<int32_t> told;
  const auto tell = [&](int32_t token) {
    told.push_back(token);
    return told.size() == 5 ? absl::CancelledError("enough") : absl::OkStatus();
  };
  const auto all = generate(model.config, model.params, prompt, 4, {}, 1, tell);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(told, *all);
  told.clear();
  EXPECT_EQ(generate(model.config, model.params, prompt, 9, {}, 1, tell).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(told.size(), 5u);
}

TEST(Generate, SaysWhatIsWrong) {
  const Model model(true, 2);
  const auto code = [&](std::vector<int32_t> prompt, SamplingOptions options, int64_t drop = 0) {
    return generate(model.config, std::span(model.params).subspan(drop), prompt, 2, options, 1)
        .status()
        .code();
  };
  EXPECT_EQ(code({}, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({41}, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({-1}, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1}, {.temperature = -1}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1}, {.temperature = NAN}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1}, {.top_k = 0}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1}, {.top_p = 0}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1}, {.top_p = 1.5}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1}, {}, 1), absl::StatusCode::kInvalidArgument);
  Model broken(true, 2);
  broken.params[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(
      generate(broken.config, broken.params, std::vector<int32_t>{1}, 2, {}, 1).status().code(),
      absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace rubato
