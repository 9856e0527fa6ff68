// The drawings of a report, each made from the runs it shows; "" where the runs have nothing for
// it. Internal to report.cc and its tests.
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

std::string loss_against_tokens(const std::vector<ReportRun>& runs);
/// Of the arriving tasks, averaged over some 100 stretches.
std::string training_loss_against_tokens(const std::vector<ReportRun>& runs);
/// Loss minus sync-diloco's at the same number of tokens.
std::string gap_against_tokens(const std::vector<ReportRun>& runs);
/// With a ring where a run first is at sync's final loss + 0.005 nats.
std::string loss_against_time(const std::vector<ReportRun>& runs);
/// One panel a run, the same stretch of virtual time for all.
std::string timelines(const std::vector<ReportRun>& runs);
std::string staleness_histograms(const std::vector<ReportRun>& runs);
std::string worker_shares(const std::vector<ReportRun>& runs);

}  // namespace rubato
