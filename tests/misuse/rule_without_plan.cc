// Must not compile: an outer rule that does not say how it plans an update.
// expect: cannot declare variable .rule. to be of abstract|.* is an abstract class
#include "rubato/outer/outer_rule.h"

namespace rubato {

class Rule final : public OuterStage {
 public:
  void apply(Block&, const StagePlan&) override {}
};

void misuse() { Rule rule; }

}  // namespace rubato
