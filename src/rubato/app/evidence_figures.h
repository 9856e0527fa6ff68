// The drawings of an experiment.
#pragma once

#include <string>
#include <vector>

#include "rubato/app/evidence_matrix.h"

namespace rubato {

/// Loss by tokens (`figure` = tokens) or by the virtual clock (clock) of one cell, a line a row:
/// the mean over its seeds. A file of its own; "" when no row has a curve.
std::string draw_cell(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell,
                      const std::string& figure);

}  // namespace rubato
