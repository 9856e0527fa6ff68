#include "rubato/app/catalogue.h"

#include "rubato/app/methods.h"
#include "rubato/codec/codec.h"
#include "rubato/schedule/gate.h"
#include "rubato/schedule/sampler.h"
#include "rubato/schedule/step_policy.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {
namespace {

template <class E>
std::vector<Description> descriptions(std::span<const E* const> entries) {
  std::vector<Description> out;
  for (const E* entry : entries) out.push_back(*entry);
  return out;
}

std::vector<Description> outer_stages(std::span<const OuterEntry* const> outer, StageKind kind) {
  std::vector<Description> out;
  for (const OuterEntry* entry : outer) {
    if (entry->kind == kind) out.push_back(*entry);
  }
  return out;
}

}  // namespace

std::vector<CatalogueKind> catalogue(std::span<const OuterEntry* const> outer) {
  return {
      {"method", "a published way to train, as overrides on a recipe", "run.method",
       std::string(kCustomMethod), false, descriptions(all_methods())},
      {"rule", "how an outer step moves the model", "outer.rule", "delayed_nesterov", false,
       outer_stages(outer, StageKind::kTerminal)},
      {"link", "what happens to a pseudo-gradient before the rule, in this order", "outer.links",
       "", true, outer_stages(outer, StageKind::kLink)},
      {"gate", "when finished workers get new tasks", "gate.kind", "grace", false,
       descriptions(gate_entries())},
      {"policy", "how many local steps a task gets", "policy.kind", "dylu", false,
       descriptions(policy_entries())},
      {"sampler", "which shard a task trains on", "sampler.kind", "deficit", false,
       descriptions(sampler_entries())},
      {"inner", "the optimizer of the local steps", "inner.kind", "adamw", false,
       descriptions(inner_entries())},
      {"codec", "how pseudo-gradients travel", "codec.up", "fp32", false,
       descriptions(codec_entries())},
  };
}

}  // namespace rubato
