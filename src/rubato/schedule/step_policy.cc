#include "rubato/schedule/step_policy.h"

#include <algorithm>

#include "rubato/base/int128.h"

namespace rubato {
namespace {

class Fixed final : public StepPolicy {
 public:
  int64_t steps(int64_t local_steps, Nanos, Nanos) const override { return local_steps; }
};

class DynamicLocalUpdates final : public StepPolicy {
 public:
  int64_t steps(int64_t local_steps, Nanos own_ns, Nanos fastest_ns) const override {
    // In floating point H * v / v_max is one off in thousands of rational cases; 128 bits never
    // overflow.
    const auto exact = static_cast<Int128>(local_steps) * fastest_ns / own_ns;
    return std::clamp<int64_t>(static_cast<int64_t>(exact), 1, local_steps);
  }
};

const PolicyEntry kFixed = {{.name = "fixed",
                             .summary = "every task has H local steps",
                             .formula = "steps = H",
                             .source = "Liu et al. 2024, Alg. 2",
                             .options = {}},
                            [](const Options&) -> StatusOr<std::unique_ptr<StepPolicy>> {
                              return std::make_unique<Fixed>();
                            }};

const PolicyEntry kDylu = {{.name = "dylu",
                            .summary = "dynamic local updates: slower workers make fewer steps, so "
                                       "that all return at about the same time",
                            .formula = "steps(w) = floor(H * t_fastest / t_w), at least 1",
                            .source = "Liu et al. 2024, eq. 6",
                            .options = {}},
                           [](const Options&) -> StatusOr<std::unique_ptr<StepPolicy>> {
                             return std::make_unique<DynamicLocalUpdates>();
                           }};

const PolicyEntry* const kEntries[] = {&kFixed, &kDylu};

}  // namespace

std::span<const PolicyEntry* const> policy_entries() { return kEntries; }

}  // namespace rubato
