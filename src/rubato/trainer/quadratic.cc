// The quadratic workload. All sums run in double and in the order of the batch; the gradient is
// rounded to float once, as an engine would hand it to the optimizer.
#include "rubato/trainer/quadratic.h"

#include <cmath>

#include "rubato/base/flat_ops.h"
#include "rubato/base/rng.h"

namespace rubato {
namespace {

constexpr uint64_t kCommonTarget = 0;  // keys of kSyntheticData: the common part, then the shards,
constexpr uint64_t kNoiseTag = 0x6e6f697365;  // and the sequences' noise behind mix_bits

// Loss and gradient of one term of the sum.
double half_square(double h, double distance) { return 0.5 * h * distance * distance; }

class QuadraticTrainer final : public Trainer, public StepHalves {
 public:
  QuadraticTrainer(const QuadraticWorkload& workload, int64_t max_batch)
      : workload_(workload),
        max_batch_(max_batch),
        sum_(workload.layout().size()),
        gradient_(workload.layout().size()) {}

  StepResult step(std::span<float> params, InnerState& state, std::span<const SequenceRef> batch,
                  double lr, int threads) override {
    StepResult result = part_gradient(params, batch, std::ssize(batch), threads);
    double squares = 0;
    for (const double value : sum_) squares += value * value;
    result.grad_norm = std::sqrt(squares);
    apply(params, state, result, lr);
    return result;
  }

  StepHalves* halves() override { return this; }

  StepResult part_gradient(std::span<const float> params, std::span<const SequenceRef> part,
                           int64_t whole, int /*threads*/) override {
    const int64_t size = static_cast<int64_t>(part.size());
    RUBATO_CHECK(size >= 1 && size <= max_batch_, "batch of ", size, ", made for ", max_batch_);
    StepResult result{.tokens = size};
    const double weight = 1.0 / static_cast<double>(whole);
    std::fill(sum_.begin(), sum_.end(), 0.0);
    for (const SequenceRef& sequence : part) {
      result.loss += weight * workload_.add_gradient(sequence, params, weight, sum_);
    }
    for (size_t j = 0; j < sum_.size(); ++j) gradient_[j] = static_cast<float>(sum_[j]);
    return result;
  }

  std::span<float> gradient() override { return gradient_; }

  StepResult update(std::span<float> params, InnerState& state, StepResult whole, double lr,
                    int /*threads*/) override {
    whole.grad_norm = l2_norm(gradient_);
    apply(params, state, whole, lr);
    return whole;
  }

 private:
  void apply(std::span<float> params, InnerState& state, const StepResult& result, double lr) {
    if (!std::isfinite(result.loss)) return;
    ++state.steps;
    const InnerOptimizer& optimizer = workload_.optimizer();
    const double scale = clip_factor(result.grad_norm, optimizer.clip_norm());
    optimizer.update(workload_.layout(), 0, workload_.layout().size(), gradient_,
                     static_cast<float>(scale), lr, state, params, {});
  }

  const QuadraticWorkload& workload_;
  int64_t max_batch_;
  std::vector<double> sum_;      // [P]
  std::vector<float> gradient_;  // [P]
};

Status check_options(const QuadraticOptions& options) {
  const auto refuse = [](std::string_view name, auto got, std::string_view want) {
    return absl::InvalidArgumentError(cat("[quadratic] ", name, ": got ", got, ", want ", want));
  };
  if (options.dim < 2) return refuse("dim", options.dim, "at least 2");
  if (options.shards < 1) return refuse("shards", options.shards, "at least 1");
  if (options.sequences_per_shard < 1)
    return refuse("sequences_per_shard", options.sequences_per_shard, "at least 1");
  if (!(options.noise >= 0)) return refuse("noise", options.noise, "at least 0");
  if (!(options.shard_spread >= 0))
    return refuse("shard_spread", options.shard_spread, "at least 0");
  if (!(options.condition >= 1)) return refuse("condition", options.condition, "at least 1");
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<QuadraticWorkload>> QuadraticWorkload::make(
    const QuadraticOptions& options, std::shared_ptr<const InnerOptimizer> optimizer) {
  RUBATO_RETURN_IF_ERROR(check_options(options));
  if (optimizer == nullptr)
    return absl::InvalidArgumentError("[quadratic] got no inner optimizer, want one");
  return std::unique_ptr<QuadraticWorkload>(new QuadraticWorkload(options, std::move(optimizer)));
}

QuadraticWorkload::QuadraticWorkload(const QuadraticOptions& options,
                                     std::shared_ptr<const InnerOptimizer> optimizer)
    : options_(options), optimizer_(std::move(optimizer)) {
  const int64_t dim = options_.dim;
  layout_.add("quadratic.a", {dim / 2}, TensorRole::kMatrix);
  layout_.add("quadratic.b", {dim - dim / 2}, TensorRole::kBias);
  for (int64_t j = 0; j < dim; ++j) {
    const double position = static_cast<double>(j) / static_cast<double>(dim - 1);
    curvature_.push_back(std::pow(options_.condition, -position));
  }
  Rng common_draws(options_.seed, RngStream::kSyntheticData, kCommonTarget);
  std::vector<double> common(dim);
  for (double& value : common) value = common_draws.normal();
  mean_target_.assign(dim, 0.0);
  for (int64_t shard = 0; shard < options_.shards; ++shard) {
    Rng own(options_.seed, RngStream::kSyntheticData, kCommonTarget + 1 + shard);
    for (int64_t j = 0; j < dim; ++j) {
      targets_.push_back(common[j] + options_.shard_spread * own.normal());
      mean_target_[j] += targets_.back() / static_cast<double>(options_.shards);
    }
  }
}

void QuadraticWorkload::initialise(uint64_t seed, std::span<float> params) const {
  RUBATO_CHECK(static_cast<int64_t>(params.size()) == options_.dim);
  Rng draws(seed, RngStream::kParameters);
  for (float& value : params) value = static_cast<float>(draws.normal());
}

std::vector<int64_t> QuadraticWorkload::shard_sequences() const {
  return std::vector<int64_t>(options_.shards, options_.sequences_per_shard);
}

std::span<const double> QuadraticWorkload::target(ShardId shard) const {
  RUBATO_CHECK(shard.value() >= 0 && shard.value() < options_.shards);
  return std::span(targets_).subspan(shard.value() * options_.dim, options_.dim);
}

double QuadraticWorkload::add_gradient(SequenceRef sequence, std::span<const float> params,
                                       double weight, std::span<double> gradient) const {
  RUBATO_CHECK(sequence.index >= 0 && sequence.index < options_.sequences_per_shard, "sequence ",
               sequence.index, " of ", options_.sequences_per_shard);
  const std::span<const double> centre = target(sequence.shard);
  double loss = 0;
  for (int64_t j = 0; j < options_.dim; ++j) {
    const double distance = static_cast<double>(params[j]) - centre[j];
    loss += half_square(curvature_[j], distance);
    gradient[j] += weight * curvature_[j] * distance;
  }
  if (options_.noise > 0) {
    Rng draws(options_.seed, RngStream::kSyntheticData,
              mix_bits(kNoiseTag, sequence.shard.value(), sequence.index));
    for (int64_t j = 0; j < options_.dim; ++j)
      gradient[j] += weight * options_.noise * draws.normal();
  }
  return loss;
}

StatusOr<std::unique_ptr<Trainer>> QuadraticWorkload::make_trainer(int64_t max_batch,
                                                                   int threads) const {
  if (max_batch < 1 || threads < 1) {
    return absl::InvalidArgumentError(cat("[quadratic] got batch ", max_batch, " and ", threads,
                                          " threads, want at least 1 of each"));
  }
  return std::make_unique<QuadraticTrainer>(*this, max_batch);
}

StatusOr<EvalResult> QuadraticWorkload::evaluate(std::span<const float> params,
                                                 int /*threads*/) const {
  RUBATO_CHECK(static_cast<int64_t>(params.size()) == options_.dim);
  double loss = 0;
  for (int64_t j = 0; j < options_.dim; ++j)
    loss += half_square(curvature_[j], static_cast<double>(params[j]) - mean_target_[j]);
  return EvalResult{.loss_nats = loss, .tokens = 1};
}

}  // namespace rubato
