// How many local steps a task gets. Exact in integers: speeds are nanoseconds per step.
#pragma once

#include <memory>
#include <span>

#include "rubato/base/ids.h"
#include "rubato/base/registry.h"

namespace rubato {

class StepPolicy {
 public:
  virtual ~StepPolicy() = default;
  /// Local steps for a worker of `own_ns` per step when the fastest connected worker takes
  /// `fastest_ns`; 0 < fastest_ns <= own_ns; `local_steps` is H. The result lies in [1, H].
  virtual int64_t steps(int64_t local_steps, Nanos own_ns, Nanos fastest_ns) const = 0;
};

using PolicyEntry = Entry<StatusOr<std::unique_ptr<StepPolicy>>(const Options&)>;

/// Every step policy there is: fixed, dylu.
std::span<const PolicyEntry* const> policy_entries();

}  // namespace rubato
