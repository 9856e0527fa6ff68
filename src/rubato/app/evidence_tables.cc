#include "rubato/app/evidence_tables.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rubato/metrics/format.h"
#include "rubato/metrics/run_statistics.h"

namespace rubato {
namespace {

constexpr size_t kStalenessColumns = 8;  // the last one holds what is larger

std::string with_excuse(const SeedFigures& figures, int digits, const std::string& excuse) {
  if (excuse.empty()) return figures.text(digits);
  return figures.values.empty() ? excuse : cat(figures.text(digits), " ", excuse);
}

bool has_rows(const EvidenceMatrix& matrix, size_t row, size_t cell) {
  return std::ranges::any_of(matrix.at(row, cell), [](const auto& run) { return run.has_value(); });
}

// The paper's perplexity of a row over that of the reference.
double paper_ratio(const Experiment& experiment, const EvidenceMatrix& matrix, size_t row,
                   size_t cell) {
  const std::vector<double>& own = experiment.rows[row].paper;
  const std::vector<double>& sync = experiment.rows[*matrix.reference()].paper;
  if (own.empty() || sync.empty()) return std::numeric_limits<double>::quiet_NaN();
  return own[cell] / sync[cell];
}

// Sync's time to its loss over this run's.
double sooner(const EvidenceRow& run, const EvidenceRow& sync) {
  const double threshold = sync.summary.val_loss_nats + kSyncLossSlackNats;
  return time_to_loss(sync, threshold) / time_to_loss(run, threshold);
}

std::string plain_mean(const SeedFigures& figures, int digits) {
  return fixed(figures.mean(), digits);
}

}  // namespace

Table perplexity_table(const Experiment& experiment, const EvidenceMatrix& matrix) {
  Table table{{{"method", "", "what was run"}}, {}};
  for (const ExperimentCell& cell : experiment.cells) {
    table.columns.push_back({cell.label, "", "perplexity: mean (smallest .. largest)"});
  }
  for (size_t r = 0; r < experiment.rows.size(); ++r) {
    std::vector<std::string> cells = {experiment.rows[r].label};
    for (size_t c = 0; c < experiment.cells.size(); ++c) {
      const SeedFigures figures =
          matrix.figures(r, c, [](const EvidenceRow& run) { return run.summary.val_perplexity(); });
      cells.push_back(with_excuse(figures, 3, matrix.excuse(r, c)));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table ratio_table(const Experiment& experiment, const EvidenceMatrix& matrix) {
  Table table{{{"method", "", "what was run"}}, {}};
  for (const ExperimentCell& cell : experiment.cells) {
    table.columns.push_back({cell.label, "", "ratio: mean (smallest .. largest)"});
    table.columns.push_back({"paper", "", "the paper's ratio"});
  }
  for (size_t r = 0; r < experiment.rows.size(); ++r) {
    if (r == *matrix.reference()) continue;
    std::vector<std::string> cells = {experiment.rows[r].label};
    for (size_t c = 0; c < experiment.cells.size(); ++c) {
      const SeedFigures figures =
          matrix.beside_reference(r, c, [](const EvidenceRow& run, const EvidenceRow& sync) {
            return run.summary.val_perplexity() / sync.summary.val_perplexity();
          });
      cells.push_back(with_excuse(figures, 4, matrix.excuse(r, c)));
      cells.push_back(fixed(paper_ratio(experiment, matrix, r, c), 3));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table conduct_table(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell) {
  Table table{{{"method", "", "what was run"},
               {"loss", "nats", "validation loss at the budget"},
               {"tokens", "M", "of all workers"},
               {"rounds", "", "local steps / (workers * H)"},
               {"outer steps", "", "that moved theta"},
               {"time", "virtual h", "for the budget"},
               {"sync's loss sooner", "x", "sync's time to its loss + 0.005 nats over this one's"},
               {"stale", "mean", "outer steps between dispatch and application"},
               {"stale", "max", "the largest"},
               {"busy", "%", "share of the workers' time spent training"}},
              {}};
  const auto mean = [&](size_t row, const auto& of, int digits) {
    return plain_mean(matrix.figures(row, cell, of), digits);
  };
  using Row = EvidenceRow;
  for (size_t r = 0; r < experiment.rows.size(); ++r) {
    if (!has_rows(matrix, r, cell)) continue;
    const bool stands_still = mean(
                                  r, [](const Row& run) { return run.outer_rounds; }, 0) == "0";
    const SeedFigures loss =
        matrix.figures(r, cell, [](const Row& run) { return run.summary.val_loss_nats; });
    table.rows.push_back(
        {experiment.rows[r].label, with_excuse(loss, 4, matrix.excuse(r, cell)),
         mean(
             r, [](const Row& run) { return static_cast<double>(run.summary.tokens) / 1e6; }, 2),
         mean(
             r, [](const Row& run) { return run.outer_rounds; }, 0),
         mean(
             r, [](const Row& run) { return static_cast<double>(run.summary.server_updates); }, 0),
         mean(
             r, [](const Row& run) { return run.summary.virtual_time_s / 3600; }, 2),
         stands_still ? "-" : matrix.beside_reference(r, cell, sooner).text(2),
         mean(
             r, [](const Row& run) { return run.summary.staleness_mean; }, 2),
         mean(
             r, [](const Row& run) { return static_cast<double>(run.summary.staleness_max); }, 0),
         stands_still ? "-"
                      : mean(
                            r, [](const Row& run) { return 100 * run.summary.utilisation; }, 1)});
  }
  return table;
}

Table diagnostics_table(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell) {
  Table table{{{"method", "", "what was run"},
               {"delta norm", "", "of the pseudo-gradients as they arrive"},
               {"step norm", "", "of what an update moves theta"},
               {"cosine", "", "between pseudo-gradient and the momentum it meets"},
               {"aligned gain", "", "1 + beta + beta^2 * c"},
               {"waiting", "worker h", "virtual time of all workers without a task"}},
              {}};
  using Row = EvidenceRow;
  const auto waiting_h = [](const Row& run) {
    double seconds = 0;
    for (const WorkerTotals& worker : run.summary.per_worker) seconds += worker.wait_s;
    return seconds / 3600;
  };
  for (size_t r = 0; r < experiment.rows.size(); ++r) {
    const auto mean = [&](const auto& of, int digits) {
      return plain_mean(matrix.figures(r, cell, of), digits);
    };
    const std::string delta = mean([](const Row& run) { return run.summary.delta_norm_mean; }, 3);
    if (!has_rows(matrix, r, cell) || delta == "-") continue;
    table.rows.push_back({experiment.rows[r].label, delta,
                          mean([](const Row& run) { return run.summary.step_norm_mean; }, 3),
                          mean([](const Row& run) { return run.summary.momentum_cosine_mean; }, 3),
                          mean([](const Row& run) { return run.summary.aligned_gain_mean; }, 2),
                          mean(waiting_h, 2)});
  }
  return table;
}

Table participation_table(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell) {
  Table table{{{"method", "", "what was run"},
               {"worker", "", "its number and its seconds a step"},
               {"updates", "", "pseudo-gradients"},
               {"share", "%", "of all tokens"},
               {"waiting", "%", "of its time"}},
              {}};
  for (size_t r = 0; r < experiment.rows.size(); ++r) {
    const std::optional<EvidenceRow>& run = matrix.at(r, cell).front();
    if (!run || run->outer_rounds == 0) continue;
    for (size_t w = 0; w < run->summary.per_worker.size(); ++w) {
      const WorkerTotals& worker = run->summary.per_worker[w];
      const double share =
          100 * static_cast<double>(worker.tokens) / static_cast<double>(run->summary.tokens);
      table.rows.push_back({w == 0 ? experiment.rows[r].label : "",
                            cat(w, ": ", run->seconds_per_step[w], " s"), grouped(worker.updates),
                            fixed(share, 1), fixed(100 * worker.wait_share(), 1)});
    }
  }
  return table;
}

Table staleness_table(const Experiment& experiment, const EvidenceMatrix& matrix, size_t cell) {
  Table table{{{"method", "", "what was run"}}, {}};
  for (size_t s = 0; s < kStalenessColumns; ++s) {
    table.columns.push_back(
        {cat(s, s + 1 == kStalenessColumns ? "+" : ""), "%", "share of the arrivals"});
  }
  for (size_t r = 0; r < experiment.rows.size(); ++r) {
    std::vector<double> counts(kStalenessColumns);
    double arrivals = 0;
    for (const std::optional<EvidenceRow>& run : matrix.at(r, cell)) {
      if (!run) continue;
      for (size_t s = 0; s < run->summary.staleness_counts.size(); ++s) {
        const auto count = static_cast<double>(run->summary.staleness_counts[s]);
        counts[std::min(s, kStalenessColumns - 1)] += count;
        arrivals += count;
      }
    }
    if (arrivals == 0) continue;
    std::vector<std::string> cells = {experiment.rows[r].label};
    for (const double count : counts) cells.push_back(fixed(100 * count / arrivals, 1));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace rubato
