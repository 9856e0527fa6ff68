// What all inner optimizers share: their state, clipping, and the cut of a range along tensors.
#include "rubato/trainer/inner_optimizer.h"

#include <algorithm>

#include "rubato/base/status.h"

namespace rubato {

void InnerState::walk_state(StateWalk& walk) {
  for (size_t i = 0; i < planes.size(); ++i) walk.plane(cat("plane.", i), planes[i]);
  walk.counter("steps", steps);
}

InnerState InnerOptimizer::make_state(int64_t num_params) const {
  InnerState state;
  // One by one: a prototype to copy from would be a plane too many for a moment.
  state.planes.reserve(num_planes());
  for (int64_t i = 0; i < num_planes(); ++i) state.planes.emplace_back(num_params, 0.0F);
  return state;
}

void InnerOptimizer::update(const Layout& layout, int64_t begin, int64_t end,
                            std::span<const float> gradient, float scale, double lr,
                            InnerState& state, std::span<float> params) const {
  for (const TensorSpec& tensor : layout.tensors()) {
    const int64_t first = std::max(begin, tensor.offset);
    const int64_t last = std::min(end, tensor.offset + tensor.size);
    if (first >= last) continue;
    update_range(tensor.role, first, gradient.subspan(first, last - first), scale, lr, state,
                 params);
  }
}

double clip_factor(double grad_norm, double clip_norm) {
  return clip_norm > 0 && grad_norm > clip_norm ? clip_norm / grad_norm : 1.0;
}

bool is_decayed(TensorRole role) {
  return role == TensorRole::kMatrix || role == TensorRole::kEmbedding;
}

}  // namespace rubato
