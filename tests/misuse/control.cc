// Must compile: everything the other files here do wrong, done right. Were a header missing or a
// name gone, this would fail first, and no error elsewhere could be taken for the expected one.
#include "rubato/base/ids.h"
#include "rubato/base/status.h"
#include "rubato/coordinator/events.h"
#include "rubato/outer/outer_rule.h"

namespace rubato {

int64_t of_worker(WorkerId worker) { return worker.value(); }
int64_t of_shard(ShardId shard) { return shard.value(); }
StatusOr<int64_t> may_fail() { return 1; }

class Rule final : public OuterStage {
 public:
  StagePlan plan(const UpdateFacts&) override { return {}; }
  void apply(Block&, const StagePlan&) override {}
};

Status use() {
  const TaskId task(3);
  const WorkerId worker(3);
  const UpdateArrived update{.worker = worker, .task = task};
  RUBATO_ASSIGN_OR_RETURN(const int64_t number, may_fail());
  Rule rule;
  const StagePlan plan = rule.plan({.staleness = number});
  return of_worker(update.worker) + of_shard(ShardId(0)) + static_cast<int64_t>(plan.a) == 4
             ? absl::OkStatus()
             : absl::InternalError("3 + 0 + 0");
}

}  // namespace rubato
