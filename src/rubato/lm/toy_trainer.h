// One executor of the toy task's local steps. A step is two parallel regions over the network's
// slices: forward, then backward fused with the optimizer, so that a slice's gradient never leaves
// the cache. An optimizer that clips needs the whole gradient's norm first: then the update is a
// third region.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "rubato/base/parallel.h"
#include "rubato/lm/toy_classifier.h"

namespace rubato {

class ToyTrainer final : public Trainer {
 public:
  /// Allocates everything; std::bad_alloc when the memory cannot be had.
  ToyTrainer(const ToyWorkload& workload, int64_t max_batch, int threads);
  StepResult step(std::span<float> params, InnerState& state, std::span<const SequenceRef> batch,
                  double lr, int threads) override;

  /// Bytes that a trainer of this size allocates.
  static int64_t bytes_needed(const ToyWorkload& workload, int64_t max_batch, int threads);

 private:
  // One thread's gradient of one slice.
  struct Scratch {
    std::vector<float> hidden_weight, hidden_bias, output_weight;
  };
  struct Update {
    float scale;
    double lr;
    InnerState& state;
    std::span<float> params;
  };

  void load(std::span<const SequenceRef> batch);
  void for_each_slice(int threads, const std::function<void(const ToySlice&, Scratch&)>& body);
  double loss_and_logits_gradient(std::span<const float> params);
  double output_bias_gradient();
  ToyGradient place_of(const ToySlice& slice, Scratch& scratch);
  double backward(const ToySlice& slice, std::span<const float> params, const ToyGradient& out);
  void update(const ToySlice& slice, const ToyGradient& gradient, const Update& how) const;

  const ToyWorkload& workload_;
  const ToyShape shape_;
  int64_t max_batch_;
  int64_t batch_ = 0;
  std::optional<ThreadPool> pool_;      // with more than one thread
  std::vector<float> x_;                // (B, I)
  std::vector<int64_t> labels_;         // (B)
  std::vector<float> activations_;      // slice after slice, each (B, U)
  std::vector<float> partial_logits_;   // (slices, B, C)
  std::vector<float> logits_gradient_;  // (B, C)
  std::vector<float> bias_gradient_;    // (C)
  std::vector<double> squares_;         // of each slice's gradient
  std::vector<Scratch> scratch_;        // of each thread
  std::vector<float> gradient_;         // [P] when the optimizer clips, else empty
};

}  // namespace rubato
