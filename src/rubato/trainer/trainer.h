// What a worker trains, seen from outside. A Workload is the model and its data, shared by all
// workers of a process; a Trainer is one executor of local steps with its scratch memory. The inner
// optimizer's state belongs to the worker and is passed in, so that a few trainers can serve many
// workers.
//   P parameters in one flat buffer; a sequence is the unit of data: an index into its shard.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rubato/base/ids.h"
#include "rubato/base/layout.h"
#include "rubato/base/status.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {

/// One sequence: a shard and a physical index in [0, size of the shard).
struct SequenceRef {
  ShardId shard;
  int64_t index = 0;
};

struct StepResult {
  double loss = 0;       // [nats] mean over the step's tokens, before the update
  double grad_norm = 0;  // before clipping
  int64_t tokens = 0;
};

struct EvalResult {
  double loss_nats = 0;      // mean per token
  double bits_per_byte = 0;  // 0 where the data has no bytes
  double accuracy = 0;       // share of tokens predicted first; 0 where it is not computed
  int64_t tokens = 0;
};

/// A local step in two halves, for a batch that several processes share: each makes the gradient of
/// its part, and whoever has the sum of them makes the update.
class StepHalves {
 public:
  virtual ~StepHalves() = default;
  /// What the sequences of `part` have in the loss and the gradient of the mean over `whole`
  /// sequences; whole >= part.size() >= 1. Parts add up to the loss, the gradient and the tokens of
  /// the whole; grad_norm is not set.
  virtual StepResult part_gradient(std::span<const float> params, std::span<const SequenceRef> part,
                                   int64_t whole, int threads) = 0;
  /// [P], of the last part_gradient(); the caller may add other parts.
  virtual std::span<float> gradient() = 0;
  /// The rest of Trainer::step(), with gradient() and `whole` the sums over all parts. Returns
  /// `whole` with its norm.
  virtual StepResult update(std::span<float> params, InnerState& state, StepResult whole, double lr,
                            int threads) = 0;
};

class Trainer {
 public:
  virtual ~Trainer() = default;
  /// One local step in place: gradient of the mean loss over `batch`, clipping, inner optimizer
  /// with rate `lr`. `threads` executes the fixed lanes and never changes a bit. A loss that is not
  /// finite leaves `params` and `state` as they were and is returned as it is: the caller decides.
  virtual StepResult step(std::span<float> params, InnerState& state,
                          std::span<const SequenceRef> batch, double lr, int threads) = 0;
  /// Of this trainer; nullptr where a batch cannot be shared.
  virtual StepHalves* halves() { return nullptr; }
};

class Workload {
 public:
  virtual ~Workload() = default;
  virtual const Layout& layout() const = 0;
  /// Seeded initial parameters [P], identical on every worker.
  virtual void initialise(uint64_t seed, std::span<float> params) const = 0;
  /// Sequences of each training shard; all > 0.
  virtual std::vector<int64_t> shard_sequences() const = 0;
  virtual int64_t tokens_per_sequence() const = 0;
  /// The inner optimizer that every trainer of this workload runs.
  virtual const InnerOptimizer& optimizer() const = 0;
  /// A new executor for batches of up to `max_batch` sequences and up to `threads` threads.
  /// The workload outlives its trainers.
  /// Allocates its arena here and never again. ResourceExhausted with the numbers when the memory
  /// cannot be had.
  virtual StatusOr<std::unique_ptr<Trainer>> make_trainer(int64_t max_batch, int threads) const = 0;
  /// The mean loss over the fixed validation set; the same bits for every `threads`.
  virtual StatusOr<EvalResult> evaluate(std::span<const float> params, int threads) const = 0;
  /// Makes an evaluation that is under way on another thread, and every later one, end soon with
  /// Cancelled where it takes long; for a process that ends.
  virtual void stop_evaluating() const {}
  /// Digest of what turns text into this workload's tokens; "" where there is no text. Parameters
  /// mean nothing under another one.
  virtual std::string vocabulary_digest() const { return ""; }
  /// Floating-point operations of one token's forward and backward pass; 0 where nobody counts.
  virtual double flops_per_token() const { return 0; }
};

}  // namespace rubato
