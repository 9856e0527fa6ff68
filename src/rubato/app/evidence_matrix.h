// The rows of one experiment laid out as its tables want them: row x cell x seed, with what is
// missing, diverged or too short to be published said, not hidden.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rubato/app/evidence_book.h"

namespace rubato {

/// A row of fewer rounds says nothing about momentum of 0.9, and is not published.
inline constexpr double kFewestRounds = 30;

/// A figure over the seeds.
struct SeedFigures {
  std::vector<double> values;  // of the seeds that have one
  size_t wanted = 0;           // seeds of the experiment

  double mean() const;  // NaN without any
  /// `12.31 (12.25 .. 12.38)`; with `2 of 3 seeds` where some are missing, `-` without any.
  std::string text(int digits) const;
};

class EvidenceMatrix {
 public:
  /// The book outlives nothing: what is found is copied.
  static StatusOr<EvidenceMatrix> make(const Experiment& experiment, const TunedSteps& tuned,
                                       const EvidenceBook& book);

  /// By seed, in the experiment's order; nullopt where it is missing or the row does not run there.
  const std::vector<std::optional<EvidenceRow>>& at(size_t row, size_t cell) const;
  /// The row whose method the others are measured against; absent when the experiment has none.
  std::optional<size_t> reference() const { return reference_; }
  /// Every row that is there.
  std::vector<const EvidenceRow*> all() const;
  size_t planned() const { return planned_; }

  /// `of` over the published runs of a row; runs that diverged or are too short have none.
  SeedFigures figures(size_t row, size_t cell,
                      const std::function<double(const EvidenceRow&)>& of) const;
  /// The same beside the reference's run of that seed.
  SeedFigures beside_reference(
      size_t row, size_t cell,
      const std::function<double(const EvidenceRow&, const EvidenceRow&)>& of) const;
  /// Why a row has no figure, in brackets: `(diverged)`, `(24 rounds, too few)`; "" otherwise.
  std::string excuse(size_t row, size_t cell) const;

 private:
  size_t seeds_ = 0, planned_ = 0;
  std::optional<size_t> reference_;
  std::vector<std::vector<std::vector<std::optional<EvidenceRow>>>> rows_;  // [row][cell][seed]
};

}  // namespace rubato
