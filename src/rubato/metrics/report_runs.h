// The runs of a report with their names, families and colours. Internal to the report's files and
// tests.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "rubato/metrics/run_data.h"

namespace rubato {

/// What the drawings share: a run with its name and colour. Runs of one method that differ by their
/// seed are a family: they share a colour, lines are named once, and timeline, histogram and shares
/// show the first of them only.
struct ReportRun {
  const RunData* data = nullptr;
  std::string label;   // tells it apart from all others
  std::string family;  // the method, or the label of a run without others of its kind
  bool leads_family = true;
  int colour = 0;                 // 0 is grey, for the pretrained model
  const RunData* sync = nullptr;  // the sync-diloco run to compare with, itself included, if any
};

/// Labels of run_labels; a colour of 1 .. 6 for each family, the usual methods always the same, 0
/// for `pretrained`.
std::vector<ReportRun> report_runs(std::span<const RunData> runs);

}  // namespace rubato
