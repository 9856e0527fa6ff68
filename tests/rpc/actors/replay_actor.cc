// A replay, as `rubato replay` does it, with a list of what was applied.
#include <algorithm>

#include "tests/rpc/actors/actors.h"
#include "tests/rpc/actors/scene.h"

#include "rubato/rpc/replay.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {

Status play_replay(const Facts& words) {
  const Scene scene = make_scene(words);
  PosixFileSystem files;
  std::vector<int64_t> applied;
  const auto collect = [&](const LoggedEvent&, const Effects& effects) {
    for (const Effect& effect : effects) {
      const auto* apply = std::get_if<Apply>(&effect);
      if (apply == nullptr) continue;
      for (const Apply::Member& member : apply->members) applied.push_back(member.task.value());
    }
  };
  RUBATO_ASSIGN_OR_RETURN(
      const ReplayReport report,
      replay(files, scene.cluster, scene.workload->layout(), ReplayFrom::kOldest, collect));
  std::ranges::sort(applied);
  const FateCounts& ledger = report.ledger;
  const Facts facts = {{"state_digest", report.state_digest},
                       {"effects_digest", report.effects_digest},
                       {"first_record", cat(report.first_record)},
                       {"steps", cat(report.counts.steps)},
                       {"arrivals", cat(report.counts.arrivals)},
                       {"ledger_balanced", cat(ledger.balanced())},
                       {"sequences_assigned", cat(ledger.assigned)},
                       {"sequences_applied", cat(ledger.applied)},
                       {"applied", join(applied, " ")}};
  return files.replace_file(join_path(scene.directory, "replay"), to_lines(facts));
}

}  // namespace rubato
