// The toy classifier: gradients against finite differences of a double-precision network, equal
// bits for any number of threads, and that it learns.
#include "rubato/lm/toy_classifier.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace rubato {
namespace {

using Given = std::map<std::string, OptionValue>;

std::shared_ptr<const InnerOptimizer> inner(const std::string& name, const Given& given) {
  const auto entry = find_entry("test", "inner optimizer", inner_entries(), name);
  const auto options = Options::resolve(name, (*entry)->options, given);
  return (*entry)->make(*options).value();
}

const Given kToyAdamW = {{"beta2", 0.999}, {"weight_decay", 1e-3}, {"clip_norm", 0.0}};

std::unique_ptr<ToyWorkload> make(const ToyOptions& options, const std::string& name = "adamw",
                                  const Given& given = kToyAdamW) {
  auto made = ToyWorkload::make(options, inner(name, given), 2);
  RUBATO_CHECK(made.ok(), made.status().message());
  return std::move(made).value();
}

// Two slices, the second a short one, at sizes that no vector width divides.
ToyOptions tiny(uint64_t seed = 42) {
  return {.data = {.inputs = 19, .points = 400, .eval_points = 300, .seed = seed},
          .hidden = kToySliceUnits + 21,
          .shards = 3};
}

// `size` sequences from the `first` on, shards taking turns.
std::vector<SequenceRef> batch_of(int64_t size, int64_t first, int64_t shards = 3) {
  std::vector<SequenceRef> batch;
  for (int64_t i = first; i < first + size; ++i) batch.push_back({ShardId(i % shards), i / shards});
  return batch;
}

// The mean loss in plain double-precision loops, straight from the definition.
double plain_loss(const ToyWorkload& workload, const std::vector<double>& theta,
                  const std::vector<SequenceRef>& batch) {
  const int64_t inputs = workload.shape().inputs, hidden = workload.shape().hidden;
  const double *w1 = theta.data(), *b1 = w1 + hidden * inputs, *w2 = b1 + hidden;
  const double* b2 = w2 + kToyClasses * hidden;
  double total = 0;
  for (const SequenceRef& sequence : batch) {
    const int64_t point = workload.point_of(sequence);
    const std::span<const float> x = workload.data().point(point);
    std::vector<double> logits(b2, b2 + kToyClasses);
    for (int64_t u = 0; u < hidden; ++u) {
      double a = b1[u];
      for (int64_t j = 0; j < inputs; ++j) a += w1[u * inputs + j] * x[j];
      for (int64_t c = 0; c < kToyClasses; ++c) logits[c] += w2[c * hidden + u] * std::fmax(a, 0);
    }
    double sum = 0;
    for (double logit : logits) sum += std::exp(logit);
    total += std::log(sum) - logits[workload.data().label(point)];
  }
  return total / static_cast<double>(batch.size());
}

TEST(ToyClassifier, GradientIsTheSlopeOfThePlainNetwork) {
  const auto workload = make(tiny(), "sgd", {});
  std::vector<float> params(workload->layout().size());
  workload->initialise(5, params);
  const std::vector<float> start = params;
  const auto batch = batch_of(7, 10);
  InnerState state = workload->optimizer().make_state(workload->layout().size());
  const StepResult result = workload->make_trainer(8, 2).value()->step(params, state, batch, 1, 2);

  std::vector<double> theta(start.begin(), start.end());
  EXPECT_NEAR(result.loss, plain_loss(*workload, theta, batch), 1e-6);
  double squares = 0, largest = 0;
  for (const TensorSpec& tensor : workload->layout().tensors()) {
    double error = 0, norm = 0;
    for (int64_t i = tensor.offset; i < tensor.offset + tensor.size; ++i) {
      const double eps = 1e-6, value = theta[i];
      theta[i] = value + eps;
      const double up = plain_loss(*workload, theta, batch);
      theta[i] = value - eps;
      const double slope = (up - plain_loss(*workload, theta, batch)) / (2 * eps);
      theta[i] = value;
      const double got = static_cast<double>(start[i]) - static_cast<double>(params[i]);
      error += (got - slope) * (got - slope);
      norm += slope * slope;
      largest = std::max(largest, std::abs(slope));
    }
    EXPECT_LT(std::sqrt(error), 1e-5 * std::sqrt(norm) + 1e-7) << tensor.name;
    squares += norm;
  }
  EXPECT_GT(largest, 1e-3);
  EXPECT_NEAR(result.grad_norm, std::sqrt(squares), 1e-5 * result.grad_norm);
}

struct Outcome {
  std::vector<float> params;
  InnerState state;
  StepResult last;
};

Outcome train(const ToyWorkload& workload, int64_t steps, int64_t batch_size, double lr,
              int threads) {
  Outcome out;
  out.params.resize(workload.layout().size());
  workload.initialise(1, out.params);
  out.state = workload.optimizer().make_state(workload.layout().size());
  const auto trainer = workload.make_trainer(batch_size, threads).value();
  const int64_t shards = static_cast<int64_t>(workload.shard_sequences().size());
  for (int64_t s = 0; s < steps; ++s) {
    const auto batch = batch_of(batch_size, s * batch_size, shards);
    out.last = trainer->step(out.params, out.state, batch, lr, threads);
  }
  return out;
}

TEST(ToyClassifier, ThreadsNeverChangeABit) {
  ToyOptions options = tiny();
  options.hidden = 9 * kToySliceUnits + 5;
  for (const double clip_norm : {0.0, 0.05}) {
    Given given = kToyAdamW;
    given["clip_norm"] = clip_norm;
    const auto workload = make(options, "adamw", given);
    const Outcome one = train(*workload, 5, 9, 1e-3, 1);
    for (int threads : {2, 3}) {
      const Outcome more = train(*workload, 5, 9, 1e-3, threads);
      EXPECT_EQ(more.params, one.params) << threads;
      EXPECT_EQ(more.state.planes, one.state.planes) << threads;
      EXPECT_EQ(more.last.loss, one.last.loss) << threads;
      EXPECT_EQ(more.last.grad_norm, one.last.grad_norm) << threads;
      EXPECT_EQ(workload->evaluate(one.params, threads)->loss_nats,
                workload->evaluate(one.params, 1)->loss_nats);
    }
  }
}

TEST(ToyClassifier, ClippingScalesTheWholeGradient) {
  const auto free = make(tiny(), "sgd", {});
  const auto clipped = make(tiny(), "sgd", {{"clip_norm", 0.125}});
  const Outcome a = train(*free, 1, 9, 1, 1), b = train(*clipped, 1, 9, 1, 1);
  ASSERT_GT(a.last.grad_norm, 0.125);
  EXPECT_EQ(a.last.grad_norm, b.last.grad_norm);
  const double factor = 0.125 / a.last.grad_norm;
  std::vector<float> start(a.params.size());
  free->initialise(1, start);
  for (size_t i = 0; i < start.size(); ++i)
    ASSERT_NEAR(b.params[i] - start[i], factor * (a.params[i] - start[i]), 1e-7);
}

TEST(ToyClassifier, LearnsAndEvaluatesLossAndAccuracy) {
  const auto workload =
      make({.data = {.points = 16000, .eval_points = 4000, .evaluate_held_out = true},
            .hidden = 64,
            .shards = 4});
  std::vector<float> start(workload->layout().size());
  workload->initialise(1, start);
  const EvalResult before = *workload->evaluate(start, 2);
  EXPECT_NEAR(before.loss_nats, std::log(4.0), 0.05);
  EXPECT_EQ(before.tokens, 4000);
  const Outcome out = train(*workload, 400, 32, 1e-3, 2);
  const EvalResult after = *workload->evaluate(out.params, 2);
  EXPECT_LT(after.loss_nats, before.loss_nats - 0.1);
  EXPECT_GT(after.accuracy, 0.38);  // chance is 0.25 +- 0.007
}

TEST(ToyClassifier, ALossThatIsNotFiniteLeavesEverythingAlone) {
  const auto workload = make(tiny());
  Outcome out = train(*workload, 2, 4, 1e-3, 1);
  out.params[3] = std::numeric_limits<float>::infinity();
  const Outcome before = out;
  const auto trainer = workload->make_trainer(4, 1).value();
  const StepResult result = trainer->step(out.params, out.state, batch_of(4, 0), 1e-3, 1);
  EXPECT_FALSE(std::isfinite(result.loss));
  EXPECT_EQ(out.params, before.params);
  EXPECT_EQ(out.state.planes, before.state.planes);
  EXPECT_EQ(out.state.steps, 2);
}

TEST(ToyClassifier, InitialParametersAreUniformByFanInAndSeeded) {
  const auto workload = make(tiny());
  std::vector<float> a(workload->layout().size()), b = a, c = a;
  workload->initialise(1, a);
  workload->initialise(1, b);
  workload->initialise(2, c);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
  const double bound = 1 / std::sqrt(19.0);
  const auto [low, high] = std::minmax_element(a.begin(), a.begin() + 19 * 149);
  EXPECT_GT(*low, -bound);
  EXPECT_LT(*low, -0.99 * bound);
  EXPECT_LT(*high, bound);
  EXPECT_GT(*high, 0.99 * bound);
}

TEST(ToyClassifier, ShardsHoldEveryPointOnce) {
  const auto workload = make(tiny());
  EXPECT_EQ(workload->shard_sequences(), (std::vector<int64_t>{133, 133, 134}));
  EXPECT_EQ(workload->point_of({ShardId(0), 0}), 0);
  EXPECT_EQ(workload->point_of({ShardId(1), 0}), 133);
  EXPECT_EQ(workload->point_of({ShardId(2), 133}), 399);
}

TEST(ToyClassifier, OptionsOutsideTheirRangesAreRefused) {
  const auto refused = [](ToyOptions options) {
    return ToyWorkload::make(options, inner("sgd", {}), 1).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  ToyOptions options = tiny();
  options.hidden = 0;
  EXPECT_TRUE(refused(options));
  options = tiny();
  options.shards = 401;
  EXPECT_TRUE(refused(options));
  options = tiny();
  options.data.eval_points = 401;  // more than there are to draw from
  EXPECT_TRUE(refused(options));
  options.data.evaluate_held_out = true;
  EXPECT_FALSE(refused(options));
  EXPECT_FALSE(ToyWorkload::make(tiny(), nullptr, 1).ok());
  EXPECT_FALSE(make(tiny())->make_trainer(1, 0).ok());
}

}  // namespace
}  // namespace rubato
