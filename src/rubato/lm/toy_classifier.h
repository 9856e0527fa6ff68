// The authors' toy task: a very wide two-layer classifier of a mixture of mixtures of Gaussians. It
// stands between the quadratic and the language model: real gradients and a real generalisation
// gap, in minutes. A sequence is one point, and its one token is its class.
// Initial parameters are uniform within +-1/sqrt(fan_in), the default of the notebook's framework.
// The inner optimizer comes from the recipe (the authors': AdamW, betas .9/.999, decay 1e-3, no
// clipping). What differs from the notebook: weight decay spares the biases, as everywhere here.
// Source: ALGORITHMS.md 5 [T]. Memory: P, the optimizer's state, and 4 bytes a hidden unit and
// point of a batch; the gradient is a buffer [P] only when the optimizer clips.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "rubato/lm/toy_data.h"
#include "rubato/lm/toy_network.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

struct ToyOptions {
  ToyDataOptions data;
  int64_t hidden = 65000;
  int64_t shards = 4;  // iid; equal but for one point
};

class ToyWorkload final : public Workload {
 public:
  /// Generates the data with `threads` threads. InvalidArgument for options out of range or a
  /// missing optimizer, ResourceExhausted when the data does not fit.
  static StatusOr<std::unique_ptr<ToyWorkload>> make(
      const ToyOptions& options, std::shared_ptr<const InnerOptimizer> optimizer, int threads);

  const Layout& layout() const override { return layout_; }
  void initialise(uint64_t seed, std::span<float> params) const override;
  std::vector<int64_t> shard_sequences() const override;
  int64_t tokens_per_sequence() const override { return 1; }
  const InnerOptimizer& optimizer() const override { return *optimizer_; }
  StatusOr<std::unique_ptr<Trainer>> make_trainer(int64_t max_batch, int threads) const override;
  /// Loss and accuracy over the evaluation's points.
  StatusOr<EvalResult> evaluate(std::span<const float> params, int threads) const override;
  double flops_per_token() const override;

  const ToyData& data() const { return data_; }
  const ToyShape& shape() const { return shape_; }
  /// Index into the data of a shard's sequence.
  int64_t point_of(SequenceRef sequence) const;

 private:
  ToyWorkload(const ToyOptions& options, std::shared_ptr<const InnerOptimizer> optimizer,
              ToyData data);
  int64_t shard_begin(int64_t shard) const;

  ToyOptions options_;
  std::shared_ptr<const InnerOptimizer> optimizer_;
  ToyData data_;
  ToyShape shape_;
  Layout layout_;
};

}  // namespace rubato
