// The learning rate of a local step: warmup and cosine per shard, so that a shard's schedule
// advances with the steps assigned on it, whoever makes them. Source: Liu et al. 2024, eq. 3.
//
//   t < warmup:  lr = lr_max * t / warmup
//   otherwise:   lr = lr_min + (lr_max - lr_min)/2 * (1 + cos(pi * (t - warmup) / (T - warmup)))
#pragma once

#include <cstdint>

#include "rubato/base/status.h"

namespace rubato {

struct LearningRate {
  double max = 1e-3;         // [1] > 0
  double min = 1e-5;         // [1] >= 0, <= max
  int64_t warmup_steps = 0;  // [local steps of a shard]

  /// InvalidArgument `[lr] ..` when the three do not fit together.
  Status validate() const;
  /// The rate of the step before which `t` steps were assigned on a shard whose target is `total`
  /// steps. Progress is clamped to [0, 1]: steps beyond the target run at `min`. To the letter of
  /// eq. 3, the first step of a warmup has rate 0.
  double at(int64_t t, int64_t total) const;
};

}  // namespace rubato
