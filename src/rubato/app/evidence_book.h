// All rows of the evidence: docs/evidence/rows/NAME.jsonl of every experiment. A row is looked up
// by what its losses follow from, whichever experiment made it, so that cells which two experiments
// share are computed once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rubato/app/evidence_plan.h"
#include "rubato/metrics/evidence_row.h"
#include "rubato/store/file_system.h"

namespace rubato {

class EvidenceBook {
 public:
  /// Reads every file in `directory`, which may be missing; `files` outlives the book. The torn end
  /// of a killed process is left out, any other bad line is DataLoss.
  static StatusOr<EvidenceBook> open(FileSystem& files, const std::string& directory);

  /// The row of a planned run by its own clock; of several the last one of that very recipe, else
  /// the last one with the same losses. Only of data with `data_digest`, unless that is empty.
  std::optional<EvidenceRow> find(const PlannedRun& run, std::string_view data_digest = "") const;
  /// Of one experiment's file, in its order.
  std::vector<EvidenceRow> rows_of(std::string_view experiment) const;
  const std::vector<EvidenceRow>& rows() const { return rows_; }

  /// Adds the row to its experiment's file; it is on the disk when this returns.
  Status append(EvidenceRow row);

  /// Where a tuning's trials stand.
  std::string tuning_path(std::string_view tuning) const;

 private:
  EvidenceBook(FileSystem& files, std::string directory)
      : files_(&files), directory_(std::move(directory)) {}

  FileSystem* files_;
  std::string directory_;
  std::vector<EvidenceRow> rows_;
};

}  // namespace rubato
