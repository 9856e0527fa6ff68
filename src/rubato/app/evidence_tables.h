// The tables of an experiment's page.
#pragma once

#include "rubato/app/evidence_matrix.h"
#include "rubato/metrics/table.h"

namespace rubato {

/// Validation perplexity, a row a method, a column a cell.
Table perplexity_table(const Experiment& experiment, const EvidenceMatrix& matrix);
/// Perplexity divided by sync DiLoCo's of the same seed and cell, with the paper's ratio beside it
/// where there is one.
Table ratio_table(const Experiment& experiment, const EvidenceMatrix& matrix);
/// Loss, time, staleness and waiting of one cell.
Table conduct_table(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell);
/// What the outer steps of one cell were like: norms, alignment with momentum, hours lost waiting.
Table diagnostics_table(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell);
/// What each worker contributed and how long it waited, first seed of one cell.
Table participation_table(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell);
/// Share of the arrivals by staleness, over the seeds of one cell.
Table staleness_table(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell);

}  // namespace rubato
