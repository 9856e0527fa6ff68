// An experiment of the evidence as its file describes it (recipes/evidence/NAME.toml): a base
// recipe, cells (variations of its surroundings: a fleet, a size), rows (methods and their
// settings), seeds, and the tuning whose outer steps the tuned rows take. It is data: what runs,
// and in which order, is evidence_plan.h's.
//
//   title, question, base, tuning, order, seeds, figures, slow
//   [cells.NAME]  label, set = ["key=value", ..]
//   [rows.NAME]   method, label, set, tuned, cells, paper = [perplexity by cell, ..]
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rubato/app/recipe.h"

namespace rubato {

/// A column of the table: the recipe under some circumstances.
struct ExperimentCell {
  std::string name;
  std::string label;              // in tables; the name when the file gives none
  std::vector<std::string> sets;  // key=value, over the base recipe
};

/// A line of the table: a method with its settings.
struct ExperimentRow {
  std::string name;
  std::string label;
  std::string method;
  std::vector<std::string> sets;   // key=value, over the cell's
  bool tuned = false;              // takes the best step of its method from the tuning
  std::vector<std::string> cells;  // where it runs; empty: everywhere
  std::vector<double> paper;       // the paper's perplexity, by cell; NaN where it has none

  bool runs_in(const ExperimentCell& cell) const;
};

struct Experiment {
  std::string name;  // of the file
  std::string path;
  std::string title;
  std::string question;  // a paragraph for the reader: what it asks, what it cannot tell
  std::string base;      // path of the recipe
  std::string tuning;    // path of the tuning; "" when no row is tuned
  int64_t order = 0;     // among experiments: the most telling first
  std::vector<int64_t> seeds;
  std::vector<std::string> figures;  // tokens, clock
  std::vector<ExperimentCell> cells;
  std::vector<ExperimentRow> rows;
};

/// The step of each method on a seed that is never compared: a grid a method, all of one size.
struct TuningFile {
  std::string name;  // of the file
  std::string path;
  std::string base;
  int64_t seed = 0;
  std::vector<std::string> sets;
  std::vector<std::string> methods;        // in the order of the file
  std::vector<std::vector<double>> grids;  // by method
};

/// InvalidArgument `[experiment] PATH:LINE: ..` for a key nobody knows, a missing one, a value of
/// another kind, a row that names a cell or a method there is not; NotFound when the file, or one
/// that it names, cannot be read.
StatusOr<Experiment> load_experiment(const std::string& path);
/// Likewise; InvalidArgument when the grids differ in size.
StatusOr<TuningFile> load_tuning_file(const std::string& path);

/// The base recipe under `sets`; each wins over the file, and over those before it.
StatusOr<Recipe> recipe_under(const std::string& base, const std::vector<std::string>& sets);

}  // namespace rubato
