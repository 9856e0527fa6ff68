// A run's brain, its outer chain and its codecs, from what a recipe chose. Both drivers make them
// here, so the simulator and a cluster cannot differ in what they drive.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/codec/codec.h"
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
  Choice up_codec{"fp32", {}};    // of pseudo-gradients
  Choice down_codec{"fp32", {}};  // of parameters, one of kDownCodecs
  int64_t num_workers = 1;        // k of the recipe, for the chain
};

/// How everything of a run travels.
struct Codecs {
  std::shared_ptr<const Codec> up, down;
};

/// What parameters may travel as. Encoding again what was decoded gives the same bytes, so a
/// published version is what every worker decodes, however often it passes the codec.
inline constexpr std::string_view kDownCodecs[] = {"fp32", "bf16"};

/// NotFound or InvalidArgument as make_codec(); InvalidArgument when parameters cannot travel so.
StatusOr<Codecs> make_codecs(const MachineConfig& config);

struct Machine {
  std::unique_ptr<Coordinator> coordinator;
  std::unique_ptr<OuterChain> chain;
  Codecs codecs;
};

/// `shard_sequences` [sequences] of each logical shard. InvalidArgument or NotFound in the words of
/// whichever part objects.
StatusOr<Machine> make_machine(const MachineConfig& config, const Layout& layout,
                               std::vector<int64_t> shard_sequences, int64_t tokens_per_sequence);

/// Threads that fold updates into a model of `num_params`: null where the update is shorter than
/// waking them. `threads` counts the caller's.
std::unique_ptr<ThreadPool> make_update_pool(int threads, int64_t num_params);

}  // namespace rubato
