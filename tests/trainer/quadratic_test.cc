// The quadratic workload against the closed forms its header promises.
#include "rubato/trainer/quadratic.h"

#include <cmath>

#include "tests/trainer/inner_testing.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

std::unique_ptr<QuadraticWorkload> make(const QuadraticOptions& options,
                                        const std::string& inner = "sgd",
                                        const std::map<std::string, OptionValue>& given = {}) {
  auto made = QuadraticWorkload::make(options, make_inner(inner, given));
  RUBATO_CHECK(made.ok(), made.status().message());
  return std::move(made).value();
}

// A run of one trainer from the seeded start.
struct Course {
  explicit Course(const QuadraticWorkload& workload, int64_t max_batch = 64)
      : params(workload.layout().size()),
        state(workload.optimizer().make_state(workload.layout().size())),
        trainer(workload.make_trainer(max_batch, 1).value()) {
    workload.initialise(9, params);
  }
  StepResult step(const std::vector<SequenceRef>& batch, double lr) {
    return trainer->step(params, state, batch, lr, 1);
  }
  std::vector<float> params;
  InnerState state;
  std::unique_ptr<Trainer> trainer;
};

TEST(Quadratic, SgdContractsTheErrorByOneMinusLrTimesCurvature) {
  const auto workload = make({.dim = 33, .condition = 25});
  Course run(*workload);
  const std::vector<float> start = run.params;
  const ShardId shard(2);
  const double lr = 0.7;
  for (int n = 1; n <= 30; ++n) {
    run.step({{shard, n}, {shard, n + 1}}, lr);
    for (int64_t j = 0; j < 33; ++j) {
      const double centre = workload->target(shard)[j];
      const double factor = std::pow(1 - lr * workload->curvature()[j], n);
      ASSERT_NEAR(run.params[j] - centre, factor * (start[j] - centre), 3e-6) << "step " << n;
    }
  }
  EXPECT_EQ(run.state.steps, 30);
}

TEST(Quadratic, EqualPartsOfEveryShardPullToTheMeanTarget) {
  const auto workload = make({.dim = 16, .shards = 3, .shard_spread = 2});
  Course run(*workload);
  std::vector<SequenceRef> batch;
  for (int64_t shard = 0; shard < 3; ++shard) batch.push_back({ShardId(shard), 5});
  for (int n = 0; n < 400; ++n) run.step(batch, 0.5);
  for (int64_t j = 0; j < 16; ++j) EXPECT_NEAR(run.params[j], workload->mean_target()[j], 1e-5);
  EXPECT_NEAR(workload->evaluate(run.params, 1)->loss_nats, 0, 1e-9);
}

TEST(Quadratic, ReportedLossAndNormAreThoseBeforeTheStep) {
  const auto workload = make({.dim = 10});
  Course run(*workload);
  double loss = 0, squares = 0;
  for (int64_t j = 0; j < 10; ++j) {
    const double distance = run.params[j] - workload->target(ShardId(1))[j];
    loss += 0.5 * workload->curvature()[j] * distance * distance;
    squares += std::pow(workload->curvature()[j] * distance, 2);
  }
  const StepResult result = run.step({{ShardId(1), 0}, {ShardId(1), 3}}, 0.1);
  EXPECT_NEAR(result.loss, loss, 1e-12 * loss);
  EXPECT_NEAR(result.grad_norm, std::sqrt(squares), 1e-12 * result.grad_norm);
  EXPECT_EQ(result.tokens, 2);
}

TEST(Quadratic, GradientIsTheSlopeOfTheLoss) {
  const auto workload = make({.dim = 8});
  std::vector<float> params(8);
  workload->initialise(4, params);
  std::vector<double> gradient(8), scratch(8);
  workload->add_gradient({ShardId(0), 0}, params, 1, gradient);
  for (int64_t j = 0; j < 8; ++j) {
    std::vector<float> up = params, down = params;
    up[j] += 0.0625F;
    down[j] -= 0.0625F;
    const double slope = (workload->add_gradient({ShardId(0), 0}, up, 1, scratch) -
                          workload->add_gradient({ShardId(0), 0}, down, 1, scratch)) /
                         (static_cast<double>(up[j]) - static_cast<double>(down[j]));
    EXPECT_NEAR(gradient[j], slope, 1e-6);
  }
}

TEST(Quadratic, ClippingBoundsTheStep) {
  const auto workload = make({.dim = 32}, "sgd", {{"clip_norm", 0.5}});
  Course run(*workload);
  const std::vector<float> start = run.params;
  const StepResult result = run.step({{ShardId(0), 0}}, 1.0);
  ASSERT_GT(result.grad_norm, 0.5);
  double moved = 0;
  for (int64_t j = 0; j < 32; ++j) moved += std::pow(run.params[j] - start[j], 2);
  EXPECT_NEAR(std::sqrt(moved), 0.5, 1e-5);
}

TEST(Quadratic, NoiseBelongsToTheSequence) {
  const auto workload = make({.dim = 4000, .sequences_per_shard = 10, .noise = 2});
  const std::vector<float> params(4000, 0.0F);
  const auto noise_of = [&](int64_t shard, int64_t index) {
    std::vector<double> gradient(4000);
    workload->add_gradient({ShardId(shard), index}, params, 1, gradient);
    for (int64_t j = 0; j < 4000; ++j)
      gradient[j] += workload->curvature()[j] * workload->target(ShardId(shard))[j];
    return gradient;
  };
  const std::vector<double> first = noise_of(1, 3);
  EXPECT_THAT(noise_of(1, 3), testing::Pointwise(testing::DoubleNear(1e-12), first));
  double mean = 0, variance = 0, covariance = 0;
  const std::vector<double> other = noise_of(1, 4), same_index = noise_of(2, 3);
  for (int64_t j = 0; j < 4000; ++j) {
    mean += first[j] / 4000;
    variance += first[j] * first[j] / 4000;
    covariance += (first[j] * other[j] + first[j] * same_index[j]) / 4000;
  }
  EXPECT_NEAR(mean, 0, 0.15);       // 2 / sqrt(4000) = 0.03
  EXPECT_NEAR(variance, 4, 0.5);    // 4 * sqrt(2/4000) = 0.09
  EXPECT_NEAR(covariance, 0, 0.5);  // 4 * sqrt(2/4000) = 0.09
}

TEST(Quadratic, SpreadZeroMakesShardsEqualAndSeedsMakeThemDiffer) {
  const auto equal = make({.shard_spread = 0});
  EXPECT_THAT(equal->target(ShardId(0)), testing::ElementsAreArray(equal->target(ShardId(3))));
  const auto spread = make({});
  EXPECT_THAT(spread->target(ShardId(0)),
              testing::Not(testing::ElementsAreArray(spread->target(ShardId(3)))));
  const auto reseeded = make({.seed = 2});
  EXPECT_THAT(spread->target(ShardId(0)),
              testing::Not(testing::ElementsAreArray(reseeded->target(ShardId(0)))));
}

TEST(Quadratic, CurvatureSpansTheConditionNumber) {
  const auto workload = make({.dim = 5, .condition = 16});
  EXPECT_THAT(workload->curvature(),
              testing::Pointwise(testing::DoubleNear(1e-12),
                                 std::vector<double>{1, 0.5, 0.25, 0.125, 0.0625}));
}

TEST(Quadratic, RunsTheAdamWItIsGiven) {
  const auto workload = make({.shard_spread = 0}, "adamw", {{"weight_decay", 0.0}});
  Course run(*workload);
  const double before = workload->evaluate(run.params, 1)->loss_nats;
  for (int n = 0; n < 500; ++n) run.step({{ShardId(0), n}}, 0.01);
  EXPECT_LT(workload->evaluate(run.params, 1)->loss_nats, 0.01 * before);
}

TEST(Quadratic, ALossThatIsNotFiniteLeavesEverythingAlone) {
  const auto workload = make({}, "adamw");
  Course run(*workload);
  run.step({{ShardId(0), 0}}, 0.01);
  run.params[7] = std::numeric_limits<float>::infinity();
  const std::vector<float> params = run.params;
  const InnerState state = run.state;
  EXPECT_FALSE(std::isfinite(run.step({{ShardId(0), 1}}, 0.01).loss));
  EXPECT_EQ(run.params, params);
  EXPECT_EQ(run.state.planes, state.planes);
  EXPECT_EQ(run.state.steps, 1);
}

TEST(Quadratic, OptionsOutsideTheirRangesAreRefused) {
  const auto refused = [](const QuadraticOptions& options) {
    return QuadraticWorkload::make(options, make_inner("sgd", {})).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused({.dim = 1}));
  EXPECT_TRUE(refused({.shards = 0}));
  EXPECT_TRUE(refused({.sequences_per_shard = 0}));
  EXPECT_TRUE(refused({.noise = -1}));
  EXPECT_TRUE(refused({.noise = std::nan("")}));
  EXPECT_TRUE(refused({.shard_spread = -0.5}));
  EXPECT_TRUE(refused({.condition = 0.5}));
  EXPECT_FALSE(QuadraticWorkload::make({}, nullptr).ok());
  EXPECT_FALSE(make({})->make_trainer(0, 1).ok());
}

}  // namespace
}  // namespace rubato
