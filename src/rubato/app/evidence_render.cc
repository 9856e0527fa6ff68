#include "rubato/app/evidence_render.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "rubato/app/evidence_figures.h"
#include "rubato/app/evidence_tables.h"
#include "rubato/metrics/format.h"

namespace rubato {
namespace {

// Distinct values in order, joined.
template <class Of>
std::string distinct(const std::vector<const EvidenceRow*>& rows, const Of& of) {
  std::set<std::string> values;
  for (const EvidenceRow* row : rows) values.insert(of(*row));
  return join(values, ", ");
}

std::string span_of_dates(const std::vector<const EvidenceRow*>& rows) {
  std::string first, last;
  for (const EvidenceRow* row : rows) {
    if (first.empty() || row->date < first) first = row->date;
    last = std::max(last, row->date);
  }
  return first == last ? first : cat(first, " to ", last);
}

std::string provenance(const Experiment& experiment, const EvidenceMatrix& matrix) {
  const std::vector<const EvidenceRow*> rows = matrix.all();
  const std::string command = cat("Made by `./run evidence ", experiment.name,
                                  "`, recipe `recipes/evidence/", experiment.name, ".toml`");
  if (rows.empty()) return cat(command, ". No row is there yet.\n");
  std::string text = cat(
      command, "; ", span_of_dates(rows), ", on ",
      distinct(rows, [](const EvidenceRow& row) { return row.processor; }), ". Seeds ",
      join(experiment.seeds, ", "), "; data ",
      distinct(rows, [](const EvidenceRow& row) { return row.summary.data_digest.substr(0, 12); }),
      "; builds ", distinct(rows, [](const EvidenceRow& row) { return row.summary.build_id; }),
      ". ");
  text += rows.size() == matrix.planned() ? cat("All ", rows.size(), " rows are there.\n")
                                          : cat("**", matrix.planned() - rows.size(), " of ",
                                                matrix.planned(), " rows are still missing.**\n");
  return text;
}

void add_section(std::string& page, std::string_view title, std::string_view words,
                 const Table& table) {
  if (table.rows.empty()) return;
  page += cat("\n## ", title, "\n\n", words, words.empty() ? "" : "\n\n", to_markdown(table));
}

// "" for an experiment of one cell, whose tables need not say which.
std::string of_cell(const Experiment& experiment, size_t cell) {
  return experiment.cells.size() == 1 ? "" : cat(": ", experiment.cells[cell].label);
}

std::vector<RenderedFile> draw(const Experiment& experiment, const EvidenceMatrix& matrix,
                               std::string& page) {
  std::vector<RenderedFile> files;
  for (const std::string& figure : experiment.figures) {
    for (size_t c = 0; c < experiment.cells.size(); ++c) {
      const std::string drawing = draw_cell(experiment, matrix, c, figure);
      if (drawing.empty()) continue;
      files.push_back(
          {cat(experiment.name, "-", experiment.cells[c].name, "-", figure, ".svg"), drawing});
      page += cat("\n![Validation loss by ", figure == "clock" ? "virtual time" : "tokens",
                  of_cell(experiment, c), "](", files.back().name, ")\n");
    }
  }
  return files;
}

void add_cell(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell,
              std::string& page) {
  const std::string which = of_cell(experiment, cell);
  add_section(
      page, cat("Time and staleness", which),
      "Means over the seeds. Time is virtual; `sync's loss sooner` is sync DiLoCo's time to "
      "its own final loss + 0.005 nats, divided by this method's time to that loss.",
      conduct_table(experiment, matrix, cell));
  add_section(page, cat("Staleness", which), "Share of the arrivals by staleness, in outer steps.",
              staleness_table(experiment, matrix, cell));
  add_section(
      page, cat("Outer steps", which),
      "Means over the arrivals, then over the seeds. `cosine` is between a pseudo-gradient g "
      "(sync: the round's mean) and the momentum m that it meets; the aligned gain 1 + beta + "
      "beta^2 * c, c = <g, m> / |g|^2, is how far Nesterov's step goes along g, in units of "
      "lr * g: 1.9 when they have nothing in common, about 10 when deltas repeat each other.",
      diagnostics_table(experiment, matrix, cell));
  add_section(page, cat("Participation", which), "First seed.",
              participation_table(experiment, matrix, cell));
}

}  // namespace

StatusOr<std::vector<RenderedFile>> render_experiment(const Experiment& experiment,
                                                      const TunedSteps& tuned,
                                                      const EvidenceBook& book) {
  RUBATO_ASSIGN_OR_RETURN(const EvidenceMatrix matrix,
                          EvidenceMatrix::make(experiment, tuned, book));
  std::string page = cat("# ", experiment.title, "\n\n");
  if (!experiment.question.empty()) page += cat(experiment.question, "\n\n");
  page += provenance(experiment, matrix);
  add_section(
      page, "Perplexity",
      "Of the validation text at the token budget: mean over the seeds (smallest .. largest).",
      perplexity_table(experiment, matrix));
  if (matrix.reference()) {
    add_section(
        page, "Against synchronous DiLoCo",
        "Perplexity divided by sync DiLoCo's of the same seed: mean (smallest .. largest); "
        "beside it the same ratio of the paper's figures (arXiv:2401.09135, Tables 1 to 4).",
        ratio_table(experiment, matrix));
  }
  std::vector<RenderedFile> files = draw(experiment, matrix, page);
  for (size_t c = 0; c < experiment.cells.size(); ++c) add_cell(experiment, matrix, c, page);
  files.insert(files.begin(), {cat(experiment.name, ".md"), std::move(page)});
  return files;
}

StatusOr<RenderedFile> render_tuning(const TuningFile& tuning, std::string_view text) {
  const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("rows") || !json["rows"].is_array()) {
    return absl::DataLossError(cat("[evidence] ", tuning.name, ": got no sound tuning"));
  }
  std::string page = cat(
      "# The outer steps\n\nMade by `./run evidence`, recipe `recipes/evidence/base/", tuning.name,
      ".toml`: ", tuning.grids.front().size(), " values a method, on seed ", tuning.seed,
      ", which is never compared. Validation loss in nats at the end of the budget, the "
      "smallest in bold; the values are outer steps, for k-batch factors of the inner rate.\n");
  for (size_t m = 0; m < tuning.methods.size(); ++m) {
    Table table{{{tuning.methods[m], "", ""}}, {{"loss"}}};
    for (const double value : tuning.grids[m]) {
      std::string cell = "-";
      for (const nlohmann::ordered_json& row : json["rows"]) {
        if (!row.is_object() || row.value("method", "") != tuning.methods[m] ||
            row.value("value", 0.0) != value) {
          continue;
        }
        const bool has_loss = row.contains("val_loss_nats") && row["val_loss_nats"].is_number();
        cell = has_loss ? fixed(row["val_loss_nats"].get<double>(), 4) : "diverged";
        if (!row.value("best", false)) continue;
        const auto [least, largest] = std::ranges::minmax(tuning.grids[m]);
        const bool at_edge = value == least || value == largest;
        cell = cat("**", cell, at_edge ? "**, at the grid's edge" : "**");
      }
      table.columns.push_back({cat(value), "", ""});
      table.rows.front().push_back(cell);
    }
    page += "\n" + to_markdown(table);
  }
  return RenderedFile{cat(tuning.name, ".md"), std::move(page)};
}

}  // namespace rubato
