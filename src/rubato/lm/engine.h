// The training engine: loss, gradient and update of a batch, over flat parameters that belong to
// the caller. A batch is cut into a fixed number of lanes, a lane into fixed microbatches; every
// lane gathers its gradient in a buffer of its own and the lanes are added in a fixed tree. Threads
// execute lanes, so the bits do not depend on how many there are. An engine for fewer sequences
// than lanes lets its lanes share each microbatch instead, by rows and heads. Nothing is allocated
// after make(). Memory: lanes * P floats of gradient, P of transposed weights, one set of
// activations of a microbatch per thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "rubato/base/layout.h"
#include "rubato/base/status.h"
#include "rubato/lm/arena.h"
#include "rubato/lm/decoder.h"
#include "rubato/lm/model_config.h"
#include "rubato/lm/model_offsets.h"
#include "rubato/lm/products.h"
#include "rubato/lm/step_profile.h"
#include "rubato/lm/team.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

struct EngineOptions {
  ModelConfig model;
  int64_t sequence_length = 128;  // T
  int64_t max_batch = 1;          // [sequences]
  int lanes = 2;                  // part of the recipe: other lanes, other bits
  int threads = 1;                // the most that a call may use
  bool backward = true;           // false: losses and logits only, in much less memory
  // Keep the input of each layer only and make its activations again in the backward pass: the
  // same bits, a third more work, memory of one layer.
  bool recompute = false;
  // Of losses, gradients and steps; logits() and what an inner optimizer multiplies stay fp32.
  Products products = Products::kFp32;
  // Of step(); nullptr: there are no steps.
  std::shared_ptr<const InnerOptimizer> optimizer = nullptr;
};

class Engine {
 public:
  /// InvalidArgument for an impossible shape, FailedPrecondition for products that this processor
  /// does not have, ResourceExhausted when memory or threads are short.
  static StatusOr<std::unique_ptr<Engine>> make(const EngineOptions& options);
  /// What make() would take, without the caller's parameters and optimizer state.
  static int64_t memory_bytes(const EngineOptions& options);

  const EngineOptions& options() const { return options_; }
  const Layout& layout() const { return layout_; }
  /// Sequences that are processed together; fixed by the shape.
  int64_t microbatch() const { return microbatch_; }
  /// Starts a new count of where training steps spend their time; nullptr, as at first, counts
  /// nothing.
  void measure_parts(ReadClock clock);
  /// Of the steps since then, all threads together; waiting for each other is not in it.
  PartTimes part_times() const;

  /// Adds the token losses [nats] of `tokens` (n, T + 1), n <= max_batch, to `sum`, microbatch by
  /// microbatch in order. Inputs are the first T columns, targets the last T.
  void add_losses(std::span<const float> params, std::span<const int32_t> tokens, int threads,
                  double& sum);
  /// Mean loss [nats] of `tokens` (n, T + 1); its gradient is in gradient() until the next call.
  /// grad_norm is set; nothing is updated.
  StepResult loss_and_gradient(std::span<const float> params, std::span<const int32_t> tokens,
                               int threads);
  /// The part that `tokens` (n, T + 1) have in loss and gradient of the mean over `whole` >= n
  /// sequences; grad_norm is that of the part.
  StepResult part_gradient(std::span<const float> params, std::span<const int32_t> tokens,
                           int64_t whole, int threads);
  /// [P], d(mean loss)/d(params).
  std::span<const float> gradient() const;
  std::span<float> gradient();
  /// The norm of gradient() as it is now, for a caller who added other parts to it.
  double gradient_norm(int threads);
  /// One local step of options().optimizer in place. When the loss or the gradient's norm is not
  /// finite nothing changes; a finite loss with such a gradient is returned as NaN.
  StepResult step(std::span<float> params, InnerState& state, std::span<const int32_t> tokens,
                  double lr, int threads);
  /// The second half of step(): with gradient() and `result` of it.
  StepResult update(std::span<float> params, InnerState& state, StepResult result, double lr,
                    int threads);
  /// Logits (n * T, V) of `tokens` (n, T + 1), whose last column is not looked at; n <=
  /// microbatch().
  void logits(std::span<const float> params, std::span<const int32_t> tokens, std::span<float> out);

 private:
  explicit Engine(const EngineOptions& options);
  void carve(Carver& carver);
  int64_t sequences_in(std::span<const int32_t> tokens) const;
  bool lanes_share() const { return options_.backward && options_.max_batch < options_.lanes; }
  void run_lane(int lane, Decoder& decoder, const float* params, std::span<const int32_t> tokens,
                float scale);
  void run_shared(const float* params, std::span<const int32_t> tokens, float scale, int members);
  void make_forward_weights(const float* params, int members);
  void add_lanes(int64_t begin_block, int64_t end_block);
  void square(int64_t begin_block, int64_t end_block);
  double norm_of_squares() const;

  EngineOptions options_;
  Layout layout_;
  ModelOffsets offsets_;
  int64_t microbatch_;
  int64_t blocks_;                   // of the flat buffer
  std::vector<UpdatePiece> pieces_;  // of the optimizer
  Arena arena_;
  std::optional<ForwardWeights> weights_;
  std::vector<Decoder> decoders_;           // one a thread, or one that all lanes share
  std::vector<float*> lane_gradients_;      // each [P]; the first ends up with the sum
  double* lane_losses_ = nullptr;           // [lanes]
  double* block_squares_ = nullptr;         // [blocks]
  double* microbatch_losses_ = nullptr;     // [microbatches of max_batch]
  std::vector<InnerWorkspace> workspaces_;  // one a thread
  std::vector<PartClock> clocks_;           // one a thread, beside the decoders' own
  std::unique_ptr<Team> team_;
};

}  // namespace rubato
