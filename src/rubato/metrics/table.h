// The comparison of runs as a table: one row a run, the same cells for the terminal, Markdown and
// the report.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rubato/metrics/record.h"

namespace rubato {

struct TableColumn {
  std::string name;
  std::string unit;     // "" for words
  std::string meaning;  // one sentence
};

struct Table {
  std::vector<TableColumn> columns;            // the first holds words, the others numbers
  std::vector<std::vector<std::string>> rows;  // as many cells as columns; "-" where there is none
};

/// Names that tell the runs apart: the method; with the seed where a method comes twice; with the
/// place in the list where that does not help either.
std::vector<std::string> run_labels(std::span<const RunSummary> runs);

/// Index of the sync-diloco run that `run` is measured against: of the same seed if there is one,
/// else the first; absent without any.
std::optional<size_t> sync_baseline(std::span<const RunSummary> runs, const RunSummary& run);

/// Perplexity against sync's in %: 100 * (ppl / ppl_sync - 1); NaN without a baseline.
double perplexity_vs_sync_percent(const RunSummary& run, const RunSummary* sync);
/// Virtual time per token of sync / of `run`: how many times sooner the same number of tokens is
/// through; NaN where either took no time.
double speedup_vs_sync(const RunSummary& run, const RunSummary* sync);

/// Columns without any figure are left out.
Table comparison_table(std::span<const RunSummary> runs);

/// One row a worker: what it contributed, and how it spent its time.
Table contribution_table(const RunSummary& run);

/// Aligned columns, names and units in two header lines, no trailing blanks.
std::string to_plain_text(const Table& table);
std::string to_markdown(const Table& table);

}  // namespace rubato
