#include "tests/coordinator/rig.h"

namespace rubato {
namespace {

template <class E>
auto make_named(std::string_view kind, std::span<const E* const> entries, const Named& named) {
  const auto entry = find_entry<E>("test", kind, entries, named.name);
  RUBATO_CHECK(entry.ok(), entry.status().message());
  const auto options = Options::resolve(named.name, (*entry)->options, named.options);
  RUBATO_CHECK(options.ok(), options.status().message());
  auto made = (*entry)->make(*options);
  RUBATO_CHECK(made.ok(), made.status().message());
  return std::move(*made);
}

}  // namespace

std::unique_ptr<ShardSampler> Rig::make_sampler() const {
  return make_named<SamplerEntry>("sampler", sampler_entries(), sampler);
}

StatusOr<Coordinator> Rig::make() const {
  return Coordinator::make(config, make_named<GateEntry>("gate", gate_entries(), gate),
                           make_named<PolicyEntry>("policy", policy_entries(), policy),
                           make_sampler());
}

StateImage image_of(Coordinator& coordinator) {
  StateImage image;
  StateSaver saver(image);
  coordinator.walk_state(saver);
  return image;
}

}  // namespace rubato
