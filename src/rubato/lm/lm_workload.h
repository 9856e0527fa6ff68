// The language model as a Workload: a model configuration over prepared text. A sequence of shard s
// with index i is tokens [i*T, i*T + T + 1): inputs and, one further, targets.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "rubato/lm/engine.h"
#include "rubato/lm/model_config.h"
#include "rubato/text/token_dataset.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

struct LmWorkloadOptions {
  int64_t sequence_length = 256;        // T
  int lanes = 2;                        // of every trainer; part of the recipe
  bool recompute = false;               // activations, see EngineOptions
  Products products = Products::kFp32;  // of training steps; evaluation multiplies in fp32
  int64_t validation_sequences = 128;   // at most; spread evenly over the validation text
  std::shared_ptr<const InnerOptimizer> optimizer;
};

class LmWorkload final : public Workload {
 public:
  /// InvalidArgument for an impossible shape, a vocabulary other than the dataset's, a shard
  /// without one whole sequence.
  static StatusOr<std::unique_ptr<LmWorkload>> make(const ModelConfig& config,
                                                    std::shared_ptr<const TokenDataset> dataset,
                                                    LmWorkloadOptions options);

  const Layout& layout() const override { return layout_; }
  void initialise(uint64_t seed, std::span<float> params) const override;
  std::vector<int64_t> shard_sequences() const override;
  int64_t tokens_per_sequence() const override { return options_.sequence_length; }
  const InnerOptimizer& optimizer() const override { return *options_.optimizer; }
  StatusOr<std::unique_ptr<Trainer>> make_trainer(int64_t max_batch, int threads) const override;
  /// Mean over the validation sequences; bits per byte by the dataset's bytes per validation token.
  /// ResourceExhausted when memory is short. One evaluation at a time; further callers wait.
  StatusOr<EvalResult> evaluate(std::span<const float> params, int threads) const override;
  void stop_evaluating() const override { stopped_ = true; }
  std::string vocabulary_digest() const override { return dataset_->vocabulary_digest(); }
  double flops_per_token() const override;

  const ModelConfig& config() const { return config_; }
  /// Of the engine behind a trainer.
  /// Of the engine behind evaluate().
  EngineOptions evaluator_options(int threads) const;
  EngineOptions engine_options(int64_t max_batch, int threads) const;
  const TokenDataset& dataset() const { return *dataset_; }

 private:
  LmWorkload(const ModelConfig& config, std::shared_ptr<const TokenDataset> dataset,
             LmWorkloadOptions options);

  ModelConfig config_;
  std::shared_ptr<const TokenDataset> dataset_;
  LmWorkloadOptions options_;
  Layout layout_;
  mutable std::atomic<bool> stopped_{false};
  mutable std::mutex evaluator_mutex_;
  mutable std::unique_ptr<Engine> evaluator_;  // of the last evaluation, kept for the next
};

/// Bytes that one engine with an optimizer and one worker's parameters and optimizer state take,
/// oneDNN's packing buffers included; an upper estimate for telling a user before anything is
/// allocated.
int64_t predict_memory_bytes(const EngineOptions& options);
/// [bytes] that evaluate() keeps beside the parameters.
int64_t evaluator_memory_bytes(const LmWorkload& workload, int threads);

}  // namespace rubato
