// bf16 products: each against the exact product of the rounded operands, and the engine with them
// against the double-precision reference, against its own fp32, and against itself on other
// threads. A processor without the instructions must be refused, which is then all there is to
// test.
#include "rubato/lm/products.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/lm/reference_model.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/rng.h"
#include "rubato/lm/engine.h"
#include "rubato/lm/gemm.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

class Bf16Products : public ::testing::Test {
 protected:
  /// False, after asserting the refusal, where this processor has no such products.
  static bool available() {
    if (processor_multiplies_bf16()) return true;
    EXPECT_EQ(Engine::make({.model = {}, .products = Products::kBf16}).status().code(),
              absl::StatusCode::kFailedPrecondition);
    return false;
  }
};

std::vector<float> normals(int64_t count, uint64_t key) {
  std::vector<float> values(static_cast<size_t>(count));
  Rng rng(21, RngStream::kTest, key);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

/// To eight significant bits, ties to even, by the arithmetic of doubles.
double rounded(float value) {
  const double whole = std::ldexp(1.0, std::ilogb(value == 0 ? 1.0f : value) - 7);
  return std::nearbyint(static_cast<double>(value) / whole) * whole;
}

TEST(Products, WithoutInstructionsBf16IsRefusedInOneLine) {
  EXPECT_TRUE(check_products(Products::kFp32, /*has_bf16=*/false).ok());
  EXPECT_TRUE(check_products(Products::kBf16, /*has_bf16=*/true).ok());
  const Status status = check_products(Products::kBf16, /*has_bf16=*/false);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("[engine] got products bf16"));
  EXPECT_THAT(message, HasSubstr("train.products = \"fp32\""));
  EXPECT_EQ(message.find('\n'), message.npos);
}

TEST_F(Bf16Products, AreTheExactProductsOfRoundedOperands) {
  if (!available()) return;
  const SingleThreadedGemm single;
  struct Shape {
    int64_t m, n, k;
  };
  for (const auto& [m, n, k] : std::vector<Shape>{
           {1, 1, 1}, {3, 5, 7}, {16, 512, 33}, {129, 65, 128}, {512, 31, 255}, {40, 200, 1}}) {
    Carver measure(nullptr);
    Multiplier(Products::kBf16, m * k, k * n, measure);
    Arena arena = Arena::allocate(measure.used()).value();
    Carver carver(arena.data());
    Multiplier multiply(Products::kBf16, m * k, k * n, carver);
    for (const bool transposed : {false, true}) {
      for (const float beta : {0.0f, 1.0f}) {
        const int64_t lda = (transposed ? m : k) + 3, ldb = n + 2, ldc = n + 5;
        const auto a = normals((transposed ? k : m) * lda, 1), b = normals(k * ldb, 2);
        const auto before = normals(m * ldc, 3);
        std::vector<float> c = before;
        if (transposed) {
          multiply.tn(m, n, k, a.data(), lda, b.data(), ldb, beta, c.data(), ldc);
        } else {
          multiply.nn(m, n, k, a.data(), lda, b.data(), ldb, beta, c.data(), ldc);
        }
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < ldc; ++j) {
            const double old = static_cast<double>(before[i * ldc + j]);
            if (j >= n) {
              ASSERT_EQ(c[i * ldc + j], before[i * ldc + j]) << "beside the product";
              continue;
            }
            double want = beta == 0 ? 0 : old, size = std::abs(want);
            for (int64_t l = 0; l < k; ++l) {
              const double term =
                  rounded(a[transposed ? l * lda + i : i * lda + l]) * rounded(b[l * ldb + j]);
              want += term;
              size += std::abs(term);
            }
            ASSERT_NEAR(c[i * ldc + j], want, 1e-6 * size + 1e-30)
                << m << " x " << n << " x " << k << " transposed " << transposed << " beta " << beta
                << " at " << i << ", " << j;
          }
        }
      }
    }
  }
}

TEST_F(Bf16Products, WhatIsNotANumberStaysSo) {
  if (!available()) return;
  const SingleThreadedGemm single;
  std::vector<std::byte> room(256);
  Carver carver(room.data());
  Multiplier multiply(Products::kBf16, 16, 16, carver);
  const std::vector<float> ones(16, 1.0f);
  for (const float poison : {std::nanf(""), -INFINITY}) {
    std::vector<float> a = ones, c = ones;
    a[5] = poison;
    multiply.nn(4, 4, 4, a.data(), 4, ones.data(), 4, 0, c.data(), 4);
    for (int i = 0; i < 16; ++i) EXPECT_EQ(std::isfinite(c[i]), i / 4 != 1) << poison << " " << i;
  }
}

const ModelConfig kModel = {.layers = 2,
                            .width = 48,
                            .heads = 4,
                            .kv_heads = 2,
                            .head_dim = 18,
                            .ffn = 70,
                            .vocab = 900,
                            .tied = false};
constexpr int64_t kLength = 37;

std::unique_ptr<Engine> make(Products products, int lanes, int threads, int64_t max_batch) {
  const InnerEntry* entry =
      find_entry<InnerEntry>("test", "optimizer", inner_entries(), "adamw").value();
  return Engine::make(
             {.model = kModel,
              .sequence_length = kLength,
              .max_batch = max_batch,
              .lanes = lanes,
              .threads = threads,
              .products = products,
              .optimizer = entry->make(Options::resolve("t", entry->options, {}).value()).value()})
      .value();
}

TEST_F(Bf16Products, GradientsAgreeWithTheReferenceUpToBf16) {
  if (!available()) return;
  // A rounded operand is off by 2^-9 of itself at most, and a dozen of products follow one another:
  // 1.7 % was seen.
  constexpr double kRelative = 0.03, kFloor = 1e-4;
  for (const bool recompute : {false, true}) {
    for (const int64_t sequences : {int64_t{1}, int64_t{7}}) {
      EngineOptions options{.model = kModel,
                            .sequence_length = kLength,
                            .max_batch = sequences,
                            .threads = 2,
                            .recompute = recompute,
                            .products = Products::kBf16};
      const auto engine = Engine::make(options).value();
      const reference::Model model(kModel, kLength);
      const std::vector<float> params =
          reference::lively_params(model.layout(), 1, 1 / std::sqrt(48.0));
      const auto tokens = reference::random_tokens(kModel.vocab, sequences, kLength, 2);
      std::vector<double> gradient(params.size());
      const double loss = model.loss_and_gradient(reference::widen(params), tokens, gradient);
      const StepResult got = engine->loss_and_gradient(params, tokens, 2);
      EXPECT_NEAR(got.loss, loss, 2e-3 * loss);
      EXPECT_NE(reference::disagreements(model.layout(), engine->gradient(), gradient, 1e-4, 1e-6),
                "")
          << "rounding must show, or nothing was rounded";
      EXPECT_EQ(
          reference::disagreements(model.layout(), engine->gradient(), gradient, kRelative, kFloor),
          "");
    }
  }
}

struct Training {
  std::vector<float> params;
  std::vector<double> losses;
  friend bool operator==(const Training&, const Training&) = default;
};

/// Counting upwards from random starts: something a model can learn.
Training train(Engine& engine, int threads, int64_t sequences, int steps) {
  Training run;
  run.params.resize(static_cast<size_t>(engine.layout().size()));
  initialise_model(kModel, engine.layout(), 3, run.params);
  InnerState state = engine.options().optimizer->make_state(engine.layout().size());
  for (int step = 0; step < steps; ++step) {
    auto tokens = reference::random_tokens(31, sequences, kLength, 100 + step);
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i % (kLength + 1) != 0 && tokens[i] != 0) tokens[i] = (tokens[i - 1] + 1) % 31;
    }
    run.losses.push_back(engine.step(run.params, state, tokens, 2e-3, threads).loss);
  }
  return run;
}

TEST_F(Bf16Products, TheLossOf100StepsStaysNearFp32) {
  if (!available()) return;
  const Training fp32 = train(*make(Products::kFp32, 2, 2, 4), 2, 4, 100);
  const Training bf16 = train(*make(Products::kBf16, 2, 2, 4), 2, 4, 100);
  EXPECT_LT(fp32.losses.back(), 0.3 * fp32.losses.front()) << "must be a curve of learning";
  for (size_t i = 0; i < 100; ++i)
    EXPECT_NEAR(bf16.losses[i], fp32.losses[i], 5e-3) << "step " << i;
  EXPECT_NE(bf16.losses, fp32.losses);
}

TEST_F(Bf16Products, ThreadsNeverChangeABit) {
  if (!available()) return;
  for (const int lanes : {1, 3}) {
    for (const int64_t sequences : {int64_t{1}, int64_t{11}}) {
      const Training one = train(*make(Products::kBf16, lanes, 1, sequences), 1, sequences, 3);
      for (const int threads : {2, 3}) {
        EXPECT_EQ(train(*make(Products::kBf16, lanes, threads, sequences), threads, sequences, 3),
                  one)
            << lanes << " lanes, " << threads << " threads, " << sequences << " sequences";
      }
    }
  }
}

TEST_F(Bf16Products, TheirMemoryIsForeseen) {
  const EngineOptions fp32{.model = kModel, .sequence_length = kLength};
  EngineOptions bf16 = fp32;
  bf16.products = Products::kBf16;
  EXPECT_GT(Engine::memory_bytes(bf16), Engine::memory_bytes(fp32));
}

}  // namespace
}  // namespace rubato
