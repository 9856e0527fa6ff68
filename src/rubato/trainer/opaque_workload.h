// A model that this program does not know: workers in any language train it, and the coordinator
// has its layout, its parameters and the sizes of its shards. It cannot be trained or evaluated
// here, nor has it initial parameters of its own: the run's first worker gives them.
#pragma once

#include <memory>
#include <vector>

#include "rubato/trainer/trainer.h"

namespace rubato {

struct OpaqueOptions {
  int64_t shards = 4;                  // >= 1
  int64_t sequences_per_shard = 1024;  // >= 1
  int64_t tokens_per_sequence = 256;   // >= 1
};

class OpaqueWorkload final : public Workload {
 public:
  /// Takes over `layout`, which the run's first worker gave.
  OpaqueWorkload(const OpaqueOptions& options, Layout layout,
                 std::shared_ptr<const InnerOptimizer> optimizer);

  const Layout& layout() const override { return layout_; }
  /// Aborts: nobody here can make them.
  void initialise(uint64_t seed, std::span<float> params) const override;
  std::vector<int64_t> shard_sequences() const override;
  int64_t tokens_per_sequence() const override { return options_.tokens_per_sequence; }
  const InnerOptimizer& optimizer() const override { return *optimizer_; }
  /// Unimplemented, both.
  StatusOr<std::unique_ptr<Trainer>> make_trainer(int64_t max_batch, int threads) const override;
  StatusOr<EvalResult> evaluate(std::span<const float> params, int threads) const override;

 private:
  OpaqueOptions options_;
  Layout layout_;
  std::shared_ptr<const InnerOptimizer> optimizer_;
};

}  // namespace rubato
