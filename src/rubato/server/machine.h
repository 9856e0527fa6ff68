// A run's brain and its outer chain, from what a recipe chose. Both drivers make them here, so the
// simulator and a cluster cannot differ in what they drive.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rubato/coordinator/coordinator.h"
#include "rubato/outer/chain.h"

namespace rubato {

/// A registered thing by name, with its options as a recipe gives them.
struct Choice {
  std::string name;
  std::map<std::string, OptionValue> options;
};

struct MachineConfig {
  /// make_machine() fills in what the data and the chain decide: shard sizes, tokens a sequence,
  /// arrivals per step, largest staleness.
  CoordinatorConfig coordinator;
  Choice gate{"free", {}}, policy{"fixed", {}}, sampler{"deficit", {}};
  ChainSpec chain;
  int64_t num_workers = 1;  // k of the recipe, for the chain
};

struct Machine {
  std::unique_ptr<Coordinator> coordinator;
  std::unique_ptr<OuterChain> chain;
};

/// `shard_sequences` [sequences] of each logical shard. InvalidArgument or NotFound in the words of
/// whichever part objects.
StatusOr<Machine> make_machine(const MachineConfig& config, const Layout& layout,
                               std::vector<int64_t> shard_sequences, int64_t tokens_per_sequence);

/// Threads that fold updates into a model of `num_params`: null where the update is shorter than
/// waking them. `threads` counts the caller's.
std::unique_ptr<ThreadPool> make_update_pool(int threads, int64_t num_params);

}  // namespace rubato
