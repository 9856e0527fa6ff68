#include "rubato/schedule/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rubato {

Status LearningRate::validate() const {
  if (!(max > 0) || !(min >= 0) || !(min <= max) || warmup_steps < 0) {
    return absl::InvalidArgumentError(cat("[lr] got max ", max, ", min ", min, ", warmup_steps ",
                                          warmup_steps,
                                          ", want 0 <= min <= max, max > 0 and warmup_steps >= 0"));
  }
  return absl::OkStatus();
}

double LearningRate::at(int64_t t, int64_t total) const {
  if (t < warmup_steps) return max * static_cast<double>(t) / static_cast<double>(warmup_steps);
  const int64_t span = std::max<int64_t>(total - warmup_steps, 1);
  const double progress =
      std::clamp(static_cast<double>(t - warmup_steps) / static_cast<double>(span), 0.0, 1.0);
  return min + (max - min) / 2 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace rubato
