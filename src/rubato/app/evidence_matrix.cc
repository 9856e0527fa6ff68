#include "rubato/app/evidence_matrix.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rubato/app/methods.h"
#include "rubato/metrics/format.h"

namespace rubato {
namespace {

bool is_too_short(const EvidenceRow& row) {
  return row.outer_rounds > 0 && row.outer_rounds < kFewestRounds;
}

bool is_published(const EvidenceRow& row) {
  return row.summary.failure.empty() && !is_too_short(row);
}

}  // namespace

double SeedFigures::mean() const {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

std::string SeedFigures::text(int digits) const {
  if (values.empty()) return "-";
  std::string text = fixed(mean(), digits);
  if (values.size() > 1) {
    text += cat(" (", fixed(std::ranges::min(values), digits), " .. ",
                fixed(std::ranges::max(values), digits), ")");
  }
  if (values.size() < wanted) text += cat(", ", values.size(), " of ", wanted, " seeds");
  return text;
}

StatusOr<EvidenceMatrix> EvidenceMatrix::make(const Experiment& experiment, const TunedSteps& tuned,
                                              const EvidenceBook& book) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<PlannedRun> plan, plan_experiment(experiment, tuned));
  EvidenceMatrix matrix;
  matrix.seeds_ = experiment.seeds.size();
  matrix.planned_ = plan.size();
  matrix.rows_.resize(experiment.rows.size());
  for (auto& row : matrix.rows_) {
    row.resize(experiment.cells.size());
    for (auto& cell : row) cell.resize(matrix.seeds_);
  }
  for (size_t r = 0; r < experiment.rows.size(); ++r) {
    if (experiment.rows[r].method == kReferenceMethod && !matrix.reference_) matrix.reference_ = r;
  }
  for (const PlannedRun& run : plan) {
    const auto seed = std::ranges::find(experiment.seeds, run.seed) - experiment.seeds.begin();
    matrix.rows_[run.row][run.cell][static_cast<size_t>(seed)] = book.find(run);
  }
  return matrix;
}

const std::vector<std::optional<EvidenceRow>>& EvidenceMatrix::at(size_t row, size_t cell) const {
  return rows_[row][cell];
}

std::vector<const EvidenceRow*> EvidenceMatrix::all() const {
  std::vector<const EvidenceRow*> all;
  for (const auto& row : rows_) {
    for (const auto& cell : row) {
      for (const auto& run : cell) {
        if (run) all.push_back(&*run);
      }
    }
  }
  return all;
}

SeedFigures EvidenceMatrix::figures(size_t row, size_t cell,
                                    const std::function<double(const EvidenceRow&)>& of) const {
  SeedFigures figures{{}, seeds_};
  for (const std::optional<EvidenceRow>& run : at(row, cell)) {
    if (!run || !is_published(*run)) continue;
    if (const double value = of(*run); std::isfinite(value)) figures.values.push_back(value);
  }
  return figures;
}

SeedFigures EvidenceMatrix::beside_reference(
    size_t row, size_t cell,
    const std::function<double(const EvidenceRow&, const EvidenceRow&)>& of) const {
  SeedFigures figures{{}, seeds_};
  if (!reference_) return figures;
  for (size_t seed = 0; seed < seeds_; ++seed) {
    const std::optional<EvidenceRow>& run = at(row, cell)[seed];
    const std::optional<EvidenceRow>& reference = at(*reference_, cell)[seed];
    if (!run || !reference || !is_published(*run) || !is_published(*reference)) continue;
    const double value = of(*run, *reference);
    if (std::isfinite(value)) figures.values.push_back(value);
  }
  return figures;
}

std::string EvidenceMatrix::excuse(size_t row, size_t cell) const {
  size_t diverged = 0;
  for (const std::optional<EvidenceRow>& run : at(row, cell)) {
    if (run && run->summary.failure.empty() && is_too_short(*run)) {
      return cat("(", fixed(run->outer_rounds, 0), " rounds, too few to publish)");
    }
    if (run && !run->summary.failure.empty()) ++diverged;
  }
  return diverged == 0 ? "" : cat("(", diverged, " of ", seeds_, " seeds diverged)");
}

}  // namespace rubato
