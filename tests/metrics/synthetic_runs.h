// Runs that look like real ones, made without training: a fleet with the toy's speeds under each
// method's schedule and a loss curve drawn by formula. For tests of statistics and reports.
#pragma once

#include <vector>

#include "rubato/metrics/run_data.h"

namespace rubato {

/// pretrained, k-batch, sync-diloco, async-nesterov, dn-dylu; 4 workers at 0.58, 0.75, 1.51 and
/// 3.33 s per step, H = 10, `rounds` rounds of 4 * H steps each.
std::vector<RunData> synthetic_runs(int64_t rounds);

}  // namespace rubato
