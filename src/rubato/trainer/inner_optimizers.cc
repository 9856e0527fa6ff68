// The list of inner optimizers: one line each makes it known to recipes, `rubato describe`,
// checkpoints and the conformance tests.
#include <array>

#include "rubato/trainer/inner_optimizer.h"

namespace rubato {

const InnerEntry& adamw_entry();
const InnerEntry& muon_entry();
const InnerEntry& sgd_entry();

std::span<const InnerEntry* const> inner_entries() {
  static const std::array entries{
      &adamw_entry(),
      &muon_entry(),
      &sgd_entry(),
  };
  return entries;
}

}  // namespace rubato
