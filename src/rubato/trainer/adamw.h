// The update of AdamW on a range, for the optimizers that use it for some tensors. Formula, source
// and state: adamw.cc.
#pragma once

#include "rubato/trainer/inner_optimizer.h"

namespace rubato {

struct AdamRates {
  double beta1, beta2, eps;
};

/// gradient[i] belongs to params[offset + i]; `state` has two planes, the moments.
void adamw_update(const AdamRates& rates, double weight_decay, int64_t offset,
                  std::span<const float> gradient, float scale, double lr, InnerState& state,
                  std::span<float> params);

}  // namespace rubato
