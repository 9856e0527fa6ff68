#include "rubato/server/machine.h"

#include <algorithm>

namespace rubato {
namespace {

constexpr int64_t kParallelParams = int64_t{1} << 22;

template <class E>
StatusOr<std::remove_cvref_t<decltype(*std::declval<E>().make(std::declval<const Options&>()))>>
make_chosen(std::string_view kind, std::span<const E* const> entries, const Choice& choice) {
  RUBATO_ASSIGN_OR_RETURN(const E* entry, find_entry<E>("recipe", kind, entries, choice.name));
  RUBATO_ASSIGN_OR_RETURN(const Options options, Options::resolve(cat(kind, ".", choice.name),
                                                                  entry->options, choice.options));
  return entry->make(options);
}

// A link that reads what another kind of gate has would do nothing, or the wrong thing, in silence.
Status check_gate(const Gate& gate, const std::string& name, const StageNeeds& needs) {
  const bool averages = gate.group_mode() != GroupMode::kEach;
  if (needs.group && !averages) {
    return absl::InvalidArgumentError(
        cat("[outer chain] got a link that merges groups behind gate ", name,
            ", want one that averages: barrier or quorum"));
  }
  if (needs.task_base && averages && !gate.rounds()) {
    return absl::InvalidArgumentError(
        cat("[outer chain] got a link that reads the parameters a delta started from behind gate ",
            name, ", want another gate; the members of its groups started from different ones"));
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<Codecs> make_codecs(const MachineConfig& config) {
  Codecs codecs;
  RUBATO_ASSIGN_OR_RETURN(codecs.up, make_codec(config.up_codec.name, config.up_codec.options));
  RUBATO_ASSIGN_OR_RETURN(codecs.down,
                          make_codec(config.down_codec.name, config.down_codec.options));
  if (std::ranges::find(kDownCodecs, codecs.down->name()) != std::end(kDownCodecs)) return codecs;
  return absl::InvalidArgumentError(cat("[codec] down: got ", codecs.down->name(), ", want ",
                                        join(kDownCodecs, " or "), " for parameters"));
}

StatusOr<Machine> make_machine(const MachineConfig& config, const Layout& layout,
                               std::vector<int64_t> shard_sequences, int64_t tokens_per_sequence) {
  Machine machine;
  RUBATO_ASSIGN_OR_RETURN(machine.codecs, make_codecs(config));
  const OuterContext context{.num_workers = config.num_workers, .num_params = layout.size()};
  RUBATO_ASSIGN_OR_RETURN(machine.chain, OuterChain::make(config.chain, layout, context));
  CoordinatorConfig coordinator = config.coordinator;
  coordinator.shard_sequences = std::move(shard_sequences);
  coordinator.tokens_per_sequence = tokens_per_sequence;
  coordinator.arrivals_per_step = machine.chain->arrivals_per_step();
  if (machine.chain->max_staleness() >= 0)
    coordinator.max_staleness = machine.chain->max_staleness();
  RUBATO_ASSIGN_OR_RETURN(auto gate, make_chosen("gate", gate_entries(), config.gate));
  RUBATO_RETURN_IF_ERROR(check_gate(*gate, config.gate.name, machine.chain->needs()));
  if (machine.chain->needs().groups && config.coordinator.overlap != Overlap::kNone) {
    return absl::InvalidArgumentError(
        "[outer chain] got a rule that reads where groups end and overlapping communication, "
        "want train.overlap = none; workers then wait for tasks, and no delta ends a group");
  }
  RUBATO_ASSIGN_OR_RETURN(auto policy, make_chosen("policy", policy_entries(), config.policy));
  RUBATO_ASSIGN_OR_RETURN(auto sampler, make_chosen("sampler", sampler_entries(), config.sampler));
  RUBATO_ASSIGN_OR_RETURN(Coordinator made,
                          Coordinator::make(std::move(coordinator), std::move(gate),
                                            std::move(policy), std::move(sampler)));
  machine.coordinator = std::make_unique<Coordinator>(std::move(made));
  return machine;
}

std::unique_ptr<ThreadPool> make_update_pool(int threads, int64_t num_params) {
  if (threads <= 1 || num_params < kParallelParams) return nullptr;
  return std::make_unique<ThreadPool>(threads - 1);
}

}  // namespace rubato
