// The inner optimizer: what a worker applies to its own gradient at every local step. An optimizer
// is immutable; its state is a few planes [P] and a step counter that the worker keeps across tasks
// and never sends.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "rubato/base/layout.h"
#include "rubato/base/registry.h"
#include "rubato/base/state_walk.h"

namespace rubato {

struct InnerState {
  std::vector<std::vector<float>> planes;  // each [P]
  int64_t steps = 0;                       // steps taken since the state was made
  /// As it was made.
  void reset();
  /// Parts `plane.0`, `plane.1`, .. and `steps`.
  void walk_state(StateWalk& walk);
};

/// Dense row-major C (m, n) = A * B + beta * C: B as its transpose (n, k), A as its transpose (k,
/// m), or both as they are, (m, k) and (k, n).
struct MatrixProducts {
  using Product = void (*)(int64_t m, int64_t n, int64_t k, const float* a, const float* b,
                           float beta, float* c);
  Product second_transposed = nullptr;
  Product first_transposed = nullptr;
  Product plain = nullptr;
};

/// What an optimizer of whole matrices works with; lent by the trainer, one a thread.
struct InnerWorkspace {
  std::span<float> scratch = {};  // at least scratch_floats()
  MatrixProducts products = {};
};

/// A range of the flat buffer that one call of update() takes.
struct UpdatePiece {
  int64_t begin, end;
};

class InnerOptimizer {
 public:
  virtual ~InnerOptimizer() = default;
  virtual int64_t num_planes() const = 0;
  /// Zeroed planes for a buffer of `num_params` floats.
  InnerState make_state(int64_t num_params) const;
  /// Updates params[begin, end) from the gradient in one pass: any split into ranges that cuts no
  /// tensor for which takes_whole() holds gives the same bits. `scale` multiplies every gradient
  /// (clipping and the mean over lanes in one factor). All buffers start at the flat buffer's
  /// begin; state.steps is already the number of this step (1 for the first). Disjoint ranges may
  /// be updated at the same time, each with a workspace of its own.
  void update(const Layout& layout, int64_t begin, int64_t end, std::span<const float> gradient,
              float scale, double lr, InnerState& state, std::span<float> params,
              const InnerWorkspace& workspace) const;
  /// Pieces that together are the whole buffer: tensors that are taken whole, the costliest first,
  /// then everything else cut small enough for threads to share.
  std::vector<UpdatePiece> pieces(const Layout& layout) const;
  /// Whether the update of one element depends on the others of its tensor.
  virtual bool takes_whole(const TensorSpec&) const { return false; }
  /// Floats of scratch memory that a thread needs.
  virtual int64_t scratch_floats(const Layout&) const { return 0; }
  /// A range within one tensor of that role, which is not taken whole, whose gradient lies
  /// elsewhere: gradient[i] belongs to params[offset + i]; params and the state's planes start at
  /// the flat buffer's begin.
  virtual void update_range(TensorRole role, int64_t offset, std::span<const float> gradient,
                            float scale, double lr, InnerState& state,
                            std::span<float> params) const = 0;
  /// The same for a tensor that is taken whole; `gradient` is the tensor's.
  virtual void update_whole(const TensorSpec& tensor, std::span<const float> gradient, float scale,
                            double lr, InnerState& state, std::span<float> params,
                            const InnerWorkspace& workspace) const;
  /// Norm the whole gradient is clipped to before the update; 0: never.
  virtual double clip_norm() const = 0;
};

/// The factor that brings a gradient of norm `grad_norm` down to `clip_norm`; 1 when it is smaller
/// already or clip_norm is 0.
double clip_factor(double grad_norm, double clip_norm);

/// Whether weight decay applies: to matrices and embeddings, not to norms and biases.
bool is_decayed(TensorRole role);

using InnerEntry = Entry<StatusOr<std::unique_ptr<InnerOptimizer>>(const Options&)>;

/// Every inner optimizer there is: the list in inner_optimizers.cc.
std::span<const InnerEntry* const> inner_entries();

}  // namespace rubato
