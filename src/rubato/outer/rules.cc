// The list of links and terminal rules, one line a rule. An entry is defined in the file of its
// name; nothing registers itself, because linkers drop statics that nobody refers to.
#include "rubato/outer/outer_rule.h"

#define RUBATO_OUTER_RULES(RULE) \
  RULE(kWeightEntry)             \
  RULE(kPolynomialDiscountEntry) \
  RULE(kThresholdEntry)          \
  RULE(kDelayCompensationEntry)  \
  RULE(kBufferEntry)             \
  RULE(kClipEntry)               \
  RULE(kAgeGateEntry)            \
  RULE(kTokenWeightEntry)        \
  RULE(kHelocoEntry)             \
  RULE(kRadialDirectionalEntry)  \
  RULE(kSgdEntry)                \
  RULE(kMomentumEntry)           \
  RULE(kNesterovEntry)           \
  RULE(kAdamEntry)               \
  RULE(kDelayedNesterovEntry)    \
  RULE(kMlaEntry)

namespace rubato {

#define RUBATO_DECLARE(entry) extern const OuterEntry entry;
RUBATO_OUTER_RULES(RUBATO_DECLARE)
#undef RUBATO_DECLARE

std::span<const OuterEntry* const> outer_entries() {
#define RUBATO_ADDRESS(entry) &entry,
  static constexpr const OuterEntry* kEntries[] = {RUBATO_OUTER_RULES(RUBATO_ADDRESS)};
#undef RUBATO_ADDRESS
  return kEntries;
}

}  // namespace rubato
