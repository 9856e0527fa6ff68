// The drawings of a report, each made from the runs it shows; "" where the runs have nothing for
// it. Internal to report.cc and its tests.
#pragma once

#include <string>
#include <vector>

#include "rubato/metrics/report_runs.h"

namespace rubato {

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
