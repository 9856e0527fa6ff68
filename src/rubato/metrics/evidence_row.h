// One run of an experiment as one JSON object on one line: what docs/evidence/rows/NAME.jsonl
// holds. The summary at the token budget, the curve of validation losses up to the run's end, and
// where and when it was made. A row that is read again is written as the same bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rubato/metrics/record.h"

namespace rubato {

struct EvidenceRow {
  std::string experiment;  // whose file the row stands in
  std::string cell;
  std::string row;
  std::string date;           // 2026-11-25, of the run's end
  std::string processor;      // as the system names it
  std::string losses_digest;  // what the losses follow from: recipe_digest, or the digest
                              // without speeds where these only set the clock
  std::vector<double> seconds_per_step;  // [s] of the fleet
  double outer_rounds = 0;               // local steps / (workers * H), whatever the method
  RunSummary summary;                    // at the budget
  std::vector<int64_t> curve_tokens;     // one entry an evaluation of the training phase
  std::vector<double> curve_time_s;      // virtual
  std::vector<double> curve_loss_nats;
};

std::string to_line(const EvidenceRow& row);

/// Adds the rows of a .jsonl text to `rows`; returns the length of its sound part: a last line
/// without its newline is the torn end of a killed process, and is left out. Any other bad line is
/// DataLoss `[WHO] line N: ..`.
StatusOr<size_t> read_evidence_rows(std::string_view who, std::string_view text,
                                    std::vector<EvidenceRow>& rows);

/// The same run by the clock of another fleet of as many workers, for a row whose every step or
/// round lasts as long as the slowest worker needs: its losses do not depend on the speeds, its
/// times are those of the slowest, and the others wait for it. Times are what the simulator would
/// have recorded; waiting is up to the budget, while a run ends without the wait of its last round.
EvidenceRow at_speeds(EvidenceRow row, const std::vector<double>& seconds_per_step);

/// [s] virtual time at which the curve first is at or below `loss_nats`; NaN when never.
double time_to_loss(const EvidenceRow& row, double loss_nats);

}  // namespace rubato
