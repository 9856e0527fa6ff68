#include "rubato/lm/lm_workload.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace rubato {
namespace {

// Sequences whose tokens are held at a time while evaluating.
constexpr int64_t kEvaluationBatch = 32;

// Packed panels that oneDNN keeps for one call on one thread; measured below 4 MiB for every
// preset.
constexpr int64_t kPackingBytes = int64_t{8} << 20;

class LmTrainer final : public Trainer, public StepHalves {
 public:
  LmTrainer(const LmWorkload& workload, std::unique_ptr<Engine> engine)
      : workload_(workload),
        engine_(std::move(engine)),
        tokens_(engine_->options().max_batch * row()) {}

  StepResult step(std::span<float> params, InnerState& state, std::span<const SequenceRef> batch,
                  double lr, int threads) override {
    return engine_->step(params, state, read(batch), lr, threads);
  }

  StepHalves* halves() override { return this; }

  StepResult part_gradient(std::span<const float> params, std::span<const SequenceRef> part,
                           int64_t whole, int threads) override {
    return engine_->part_gradient(params, read(part), whole, threads);
  }

  std::span<float> gradient() override { return engine_->gradient(); }

  StepResult update(std::span<float> params, InnerState& state, StepResult whole, double lr,
                    int threads) override {
    whole.grad_norm = engine_->gradient_norm(threads);
    return engine_->update(params, state, whole, lr, threads);
  }

 private:
  // (n, T + 1), valid until the next call.
  std::span<const int32_t> read(std::span<const SequenceRef> batch) {
    RUBATO_CHECK(static_cast<int64_t>(batch.size()) <= engine_->options().max_batch);
    for (size_t i = 0; i < batch.size(); ++i) {
      workload_.dataset().read_shard(batch[i].shard, batch[i].index * (row() - 1),
                                     std::span(tokens_).subspan(i * row(), row()));
    }
    return std::span(tokens_).first(batch.size() * row());
  }

  size_t row() const { return static_cast<size_t>(engine_->options().sequence_length + 1); }

  const LmWorkload& workload_;
  std::unique_ptr<Engine> engine_;
  std::vector<int32_t> tokens_;  // (max_batch, T + 1)
};

}  // namespace

LmWorkload::LmWorkload(const ModelConfig& config, std::shared_ptr<const TokenDataset> dataset,
                       LmWorkloadOptions options)
    : config_(config),
      dataset_(std::move(dataset)),
      options_(std::move(options)),
      layout_(model_layout(config)) {}

StatusOr<std::unique_ptr<LmWorkload>> LmWorkload::make(const ModelConfig& config,
                                                       std::shared_ptr<const TokenDataset> dataset,
                                                       LmWorkloadOptions options) {
  RUBATO_CHECK(dataset != nullptr && options.optimizer != nullptr);
  RUBATO_RETURN_IF_ERROR(validate(config));
  if (options.sequence_length < 1 || options.lanes < 1 || options.validation_sequences < 1) {
    return absl::InvalidArgumentError(
        cat("[lm] got sequence_length ", options.sequence_length, ", lanes ", options.lanes,
            ", validation_sequences ", options.validation_sequences, ", want at least 1 of each"));
  }
  if (config.vocab != dataset->vocab_size()) {
    return absl::InvalidArgumentError(cat("[lm] vocabulary of the model: got ", config.vocab,
                                          ", want ", dataset->vocab_size(), " as the text in ",
                                          dataset->directory()));
  }
  const std::vector<std::string> names = dataset->shard_names();
  for (int64_t i = 0; i < dataset->num_shards(); ++i) {
    if (dataset->shard_tokens(ShardId(i)) <= options.sequence_length) {
      return absl::InvalidArgumentError(
          cat("[lm] shard ", names[i], ": got ", dataset->shard_tokens(ShardId(i)),
              " tokens, want more than sequence_length = ", options.sequence_length,
              "; take more text, fewer shards or a shorter sequence"));
    }
  }
  // Every run evaluates, so this is said before anything is written.
  if (dataset->validation_tokens() <= options.sequence_length) {
    return absl::InvalidArgumentError(
        cat("[lm] validation text: got ", dataset->validation_tokens(),
            " tokens, want more than sequence_length = ", options.sequence_length,
            "; take a larger prepare --validation or a shorter sequence"));
  }
  return std::unique_ptr<LmWorkload>(
      new LmWorkload(config, std::move(dataset), std::move(options)));
}

void LmWorkload::initialise(uint64_t seed, std::span<float> params) const {
  initialise_model(config_, layout_, seed, params);
}

std::vector<int64_t> LmWorkload::shard_sequences() const {
  std::vector<int64_t> sequences;
  for (int64_t i = 0; i < dataset_->num_shards(); ++i)
    sequences.push_back((dataset_->shard_tokens(ShardId(i)) - 1) / options_.sequence_length);
  return sequences;
}

EngineOptions LmWorkload::engine_options(int64_t max_batch, int threads) const {
  return {.model = config_,
          .sequence_length = options_.sequence_length,
          .max_batch = max_batch,
          .lanes = options_.lanes,
          .threads = threads,
          .recompute = options_.recompute,
          .products = options_.products,
          .optimizer = options_.optimizer};
}

EngineOptions LmWorkload::evaluator_options(int threads) const {
  return {.model = config_,
          .sequence_length = options_.sequence_length,
          .max_batch = kEvaluationBatch,
          .lanes = options_.lanes,
          .threads = threads,
          .backward = false};
}

StatusOr<std::unique_ptr<Trainer>> LmWorkload::make_trainer(int64_t max_batch, int threads) const {
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                          Engine::make(engine_options(max_batch, threads)));
  return std::make_unique<LmTrainer>(*this, std::move(engine));
}

StatusOr<EvalResult> LmWorkload::evaluate(std::span<const float> params, int threads) const {
  const int64_t length = options_.sequence_length;
  const int64_t present = (dataset_->validation_tokens() - 1) / length;
  const std::lock_guard lock(evaluator_mutex_);
  if (evaluator_ == nullptr || evaluator_->options().threads < threads) {
    evaluator_.reset();
    RUBATO_ASSIGN_OR_RETURN(evaluator_, Engine::make(evaluator_options(threads)));
  }
  const int64_t wanted = std::min(present, options_.validation_sequences);
  std::vector<int32_t> tokens(kEvaluationBatch * (length + 1));
  double sum = 0;
  for (int64_t begin = 0; begin < wanted; begin += kEvaluationBatch) {
    if (stopped_) return absl::CancelledError("[lm] the evaluation was stopped");
    const int64_t count = std::min(kEvaluationBatch, wanted - begin);
    const std::span<int32_t> batch = std::span(tokens).first(count * (length + 1));
    for (int64_t i = 0; i < count; ++i) {
      dataset_->read_validation((begin + i) * present / wanted * length,
                                batch.subspan(i * (length + 1), length + 1));
    }
    evaluator_->add_losses(params, batch, threads, sum);
  }
  EvalResult result;
  result.tokens = wanted * length;
  result.loss_nats = sum / static_cast<double>(result.tokens);
  if (dataset_->validation_bytes() > 0) {
    const double tokens_per_byte = static_cast<double>(dataset_->validation_tokens()) /
                                   static_cast<double>(dataset_->validation_bytes());
    result.bits_per_byte = result.loss_nats / std::log(2.0) * tokens_per_byte;
  }
  return result;
}

double LmWorkload::flops_per_token() const {
  return model_flops_per_token(config_, options_.sequence_length);
}

namespace {

int64_t token_bytes(const EngineOptions& options) {
  return options.max_batch * (options.sequence_length + 1) * static_cast<int64_t>(sizeof(int32_t));
}

}  // namespace

int64_t evaluator_memory_bytes(const LmWorkload& workload, int threads) {
  const EngineOptions options = workload.evaluator_options(threads);
  return Engine::memory_bytes(options) + token_bytes(options);
}

int64_t predict_memory_bytes(const EngineOptions& options) {
  const int64_t planes = 1 + options.optimizer->num_planes();
  return Engine::memory_bytes(options) + token_bytes(options) + options.threads * kPackingBytes +
         model_layout(options.model).size() * planes * static_cast<int64_t>(sizeof(float));
}

}  // namespace rubato
