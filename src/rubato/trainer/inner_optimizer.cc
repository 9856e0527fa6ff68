// What all inner optimizers share: their state, clipping, and the cut of a range along tensors.
#include "rubato/trainer/inner_optimizer.h"

#include <algorithm>
#include <functional>

#include "rubato/base/flat_ops.h"
#include "rubato/base/status.h"

namespace rubato {

void InnerState::reset() {
  for (std::vector<float>& plane : planes) std::ranges::fill(plane, 0.0f);
  steps = 0;
}

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
                            InnerState& state, std::span<float> params,
                            const InnerWorkspace& workspace) const {
  const std::vector<TensorSpec>& tensors = layout.tensors();
  auto tensor = std::ranges::partition_point(
      tensors, [begin](const TensorSpec& t) { return t.offset + t.size <= begin; });
  for (; tensor != tensors.end() && tensor->offset < end; ++tensor) {
    const int64_t first = std::max(begin, tensor->offset);
    const int64_t last = std::min(end, tensor->offset + tensor->size);
    const std::span<const float> own = gradient.subspan(first, last - first);
    if (takes_whole(*tensor)) {
      RUBATO_CHECK(last - first == tensor->size, tensor->name, " is taken whole");
      update_whole(*tensor, own, scale, lr, state, params, workspace);
    } else {
      update_range(tensor->role, first, own, scale, lr, state, params);
    }
  }
}

void InnerOptimizer::update_whole(const TensorSpec& tensor, std::span<const float>, float, double,
                                  InnerState&, std::span<float>, const InnerWorkspace&) const {
  RUBATO_CHECK(false, tensor.name, ": this optimizer takes no tensor whole");
}

std::vector<UpdatePiece> InnerOptimizer::pieces(const Layout& layout) const {
  constexpr int64_t kPieceFloats = 4 * kBlockFloats;
  std::vector<UpdatePiece> whole, parts;
  for (const TensorSpec& tensor : layout.tensors()) {
    const int64_t end = tensor.offset + tensor.size;
    if (takes_whole(tensor)) {
      whole.push_back({tensor.offset, end});
      continue;
    }
    for (int64_t begin = tensor.offset; begin < end;) {
      const bool goes_on = !parts.empty() && parts.back().end == begin &&
                           parts.back().end - parts.back().begin < kPieceFloats;
      if (!goes_on) parts.push_back({begin, begin});
      const int64_t room = kPieceFloats - (parts.back().end - parts.back().begin);
      parts.back().end += std::min(room, end - begin);
      begin = parts.back().end;
    }
  }
  std::ranges::stable_sort(whole, std::greater(),
                           [](const UpdatePiece& piece) { return piece.end - piece.begin; });
  whole.insert(whole.end(), parts.begin(), parts.end());
  return whole;
}

double clip_factor(double grad_norm, double clip_norm) {
  return clip_norm > 0 && grad_norm > clip_norm ? clip_norm / grad_norm : 1.0;
}

bool is_decayed(TensorRole role) {
  return role == TensorRole::kMatrix || role == TensorRole::kEmbedding;
}

}  // namespace rubato
