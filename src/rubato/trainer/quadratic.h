// The quadratic workload: a model small enough to solve on paper, so that coordinator, outer rules
// and simulator are tested against closed forms in milliseconds. With c_i the target of shard i and
// h_j the curvatures:
//   loss_i(theta) = 1/2 sum_j h_j (theta_j - c_ij)^2        c_i = common + shard_spread * own_i
//   gradient of sequence s of shard i = h * (theta - c_i) + noise * z(i, s),   z ~ N(0, I)
//   evaluate(theta) = 1/2 sum_j h_j (theta_j - mean_i c_ij)^2
// Closed forms (noise 0, one shard i per step, SGD with rate lr):
//   one step     theta' - c_i = (1 - lr*h) (theta - c_i)           contracts when lr*h < 2
//   n steps      delta = theta - theta' = (1 - (1 - lr*h)^n) (theta - c_i)
//   equal parts of every shard in the batch: the same with c_i replaced by the mean target
// What it is not: stochastic in anything but the noise, or parallel; `threads` is ignored.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "rubato/trainer/trainer.h"

namespace rubato {

struct QuadraticOptions {
  int64_t dim = 64;                    // P, >= 2
  int64_t shards = 4;                  // >= 1
  int64_t sequences_per_shard = 1024;  // >= 1
  double noise = 0;                    // standard deviation of a sequence's gradient noise
  double shard_spread = 1;             // distance of the shards' targets from the common one
  double condition = 10;               // h_max / h_min >= 1; h_max is 1
  uint64_t seed = 1;                   // of targets and noise
};

class QuadraticWorkload final : public Workload {
 public:
  /// InvalidArgument when an option is outside the ranges above or there is no optimizer.
  static StatusOr<std::unique_ptr<QuadraticWorkload>> make(
      const QuadraticOptions& options, std::shared_ptr<const InnerOptimizer> optimizer);

  /// `quadratic.a` (a matrix: decayed) is the first half, `quadratic.b` (a bias) the rest.
  const Layout& layout() const override { return layout_; }
  void initialise(uint64_t seed, std::span<float> params) const override;
  std::vector<int64_t> shard_sequences() const override;
  int64_t tokens_per_sequence() const override { return 1; }
  const InnerOptimizer& optimizer() const override { return *optimizer_; }
  StatusOr<std::unique_ptr<Trainer>> make_trainer(int64_t max_batch, int threads) const override;
  StatusOr<EvalResult> evaluate(std::span<const float> params, int threads) const override;

  /// h [P], from 1 down to 1/condition in equal ratios.
  std::span<const double> curvature() const { return curvature_; }
  /// c_i [P].
  std::span<const double> target(ShardId shard) const;
  /// Mean of the targets over shards [P]: the minimum of evaluate.
  std::span<const double> mean_target() const { return mean_target_; }
  /// Adds one sequence's gradient at `params`, times `weight`, to `gradient` [P]; returns its loss.
  double add_gradient(SequenceRef sequence, std::span<const float> params, double weight,
                      std::span<double> gradient) const;

 private:
  QuadraticWorkload(const QuadraticOptions& options,
                    std::shared_ptr<const InnerOptimizer> optimizer);

  QuadraticOptions options_;
  std::shared_ptr<const InnerOptimizer> optimizer_;
  Layout layout_;
  std::vector<double> curvature_;    // [P]
  std::vector<double> targets_;      // [shards][P]
  std::vector<double> mean_target_;  // [P]
};

}  // namespace rubato
