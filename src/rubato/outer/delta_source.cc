#include "rubato/outer/delta_source.h"

#include <algorithm>

namespace rubato {

const float* WeightedSum::block(int64_t offset, int64_t size, float* scratch) const {
  alignas(64) float of_member[kBlockFloats];
  const std::span<float> sum(scratch, static_cast<size_t>(size));
  std::ranges::fill(sum, 0.0f);
  for (const auto& [weight, delta] : members_) {
    const float* values = delta->block(offset, size, of_member);
    add_scaled(static_cast<float>(weight), {values, sum.size()}, sum);
  }
  return scratch;
}

}  // namespace rubato
