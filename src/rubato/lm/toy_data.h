// The toy task's data: a mixture of mixtures of Gaussians. Every class owns a few clusters; a point
// is its cluster's centre, a random unit vector, plus noise in every direction. The points are
// generated from the seed, each keyed by its index, so any number of threads makes the same bits.
//   x = centre[k] + noise * N(0, I),   class = k / clusters_per_class,   clusters equally often
// With the defaults the noise hides most of the classes: what falls far below 1 nat is learnt by
// heart, which is how the authors' evaluation on training points gets to 0.1.
// Source: ALGORITHMS.md 5 [T].
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

inline constexpr int64_t kToyClasses = 4;

struct ToyDataOptions {
  int64_t inputs = 512;            // floats of one point
  int64_t points = 128000;         // training points, over all shards
  int64_t eval_points = 10000;     // points of an evaluation
  bool evaluate_held_out = false;  // false: on training points, as the authors do
  int64_t clusters_per_class = 8;
  double noise = 0.5;  // standard deviation in every direction
  uint64_t seed = 42;
};

class ToyData {
 public:
  /// Generates everything with `threads` threads; a second or two of one at the default size.
  /// InvalidArgument when an option makes no sense, ResourceExhausted when memory is short.
  static StatusOr<ToyData> make(const ToyDataOptions& options, int threads);

  int64_t inputs() const { return options_.inputs; }
  /// Point [inputs] and class of a training index in [0, points), shuffled over the clusters.
  std::span<const float> point(int64_t index) const;
  int64_t label(int64_t index) const { return labels_[index]; }
  /// Indices of the evaluation's points; those that were held out lie behind the training points.
  std::span<const int64_t> eval_indices() const { return eval_indices_; }

 private:
  explicit ToyData(const ToyDataOptions& options) : options_(options) {}
  void assign_clusters();
  void choose_evaluation();
  void generate_points(int threads);

  ToyDataOptions options_;
  std::vector<int64_t> clusters_;      // of each point
  std::vector<uint8_t> labels_;        // of each point
  std::vector<float> values_;          // [points][inputs]
  std::vector<int64_t> eval_indices_;  // [eval_points]
};

}  // namespace rubato
