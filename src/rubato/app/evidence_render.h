// The evidence as people read it: an experiment's page with tables beside the paper's figures, its
// drawings, and the tuning's page. A pure function of the experiment's file and the rows: the same
// ones give the same bytes, on any machine and at any time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rubato/app/evidence_book.h"

namespace rubato {

struct RenderedFile {
  std::string name;  // beside docs/evidence/README.md
  std::string text;
};

/// NAME.md and NAME-CELL-FIGURE.svg.
StatusOr<std::vector<RenderedFile>> render_experiment(const Experiment& experiment,
                                                      const TunedSteps& tuned,
                                                      const EvidenceBook& book);
/// NAME.md of a tuning; `text` is its rows/NAME.json.
StatusOr<RenderedFile> render_tuning(const TuningFile& tuning, std::string_view text);

}  // namespace rubato
