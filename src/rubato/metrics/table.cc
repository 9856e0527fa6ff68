#include "rubato/metrics/table.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rubato/metrics/format.h"

namespace rubato {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::string percent_or_none(bool known, double share) {
  return known ? fixed(100 * share, 1) : "-";
}

std::vector<std::string> cells_of(const RunSummary& run, const std::string& label,
                                  const RunSummary* sync) {
  const bool trained = run.server_updates > 0;
  double worker_s = 0;
  for (const WorkerTotals& worker : run.per_worker) worker_s += worker.train_s + worker.wait_s;
  return {label,
          grouped(run.tokens),
          run.failure.empty() ? fixed(run.val_loss_nats, 4) : run.failure,
          fixed(run.val_perplexity(), 2),
          run.method == "sync-diloco" && run.failure.empty()
              ? "0"
              : signed_fixed(perplexity_vs_sync_percent(run, sync), 2),
          fixed(run.virtual_time_s, 1),
          fixed(speedup_vs_sync(run, sync), 2),
          fixed(run.time_to_sync_loss_s.value_or(kNone), 1),
          trained ? fixed(run.staleness_mean, 2) : "-",
          trained ? cat(run.staleness_max) : "-",
          percent_or_none(worker_s > 0, run.utilisation)};
}

constexpr size_t kAlwaysShown = 4;  // method, tokens, loss, perplexity: known or not

/// A single run has nothing to say about sync, and a fleet without waiting nothing about that.
void drop_empty_columns(Table& table) {
  for (size_t c = table.columns.size(); c-- > kAlwaysShown;) {
    const bool empty = std::all_of(table.rows.begin(), table.rows.end(),
                                   [&](const auto& row) { return row[c] == "-"; });
    if (!empty) continue;
    const auto offset = static_cast<std::ptrdiff_t>(c);
    table.columns.erase(table.columns.begin() + offset);
    for (auto& row : table.rows) row.erase(row.begin() + offset);
  }
}

std::string padded(const std::string& cell, size_t width, bool left) {
  const std::string blanks(width > cell.size() ? width - cell.size() : 0, ' ');
  return left ? cell + blanks : blanks + cell;
}

std::string markdown_cell(const std::string& cell) {
  std::string out;
  for (const char c : cell) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

}  // namespace

std::vector<std::string> run_labels(std::span<const RunSummary> runs) {
  const auto count = [&](const auto& same) {
    return std::count_if(runs.begin(), runs.end(), same);
  };
  std::vector<std::string> labels;
  for (size_t i = 0; i < runs.size(); ++i) {
    const RunSummary& run = runs[i];
    std::string label = run.method.empty() ? "run" : run.method;
    if (count([&](const RunSummary& r) { return r.method == run.method; }) > 1) {
      label += count([&](const RunSummary& r) {
                 return r.method == run.method && r.seed == run.seed;
               }) > 1
                   ? cat(" (", i + 1, ")")
                   : cat(" (seed ", run.seed, ")");
    }
    labels.push_back(std::move(label));
  }
  return labels;
}

std::optional<size_t> sync_baseline(std::span<const RunSummary> runs, const RunSummary& run) {
  std::optional<size_t> first;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].method != "sync-diloco") continue;
    if (runs[i].seed == run.seed) return i;
    if (!first) first = i;
  }
  return first;
}

double perplexity_vs_sync_percent(const RunSummary& run, const RunSummary* sync) {
  if (sync == nullptr) return kNone;
  return 100 * std::expm1(run.val_loss_nats - sync->val_loss_nats);
}

double speedup_vs_sync(const RunSummary& run, const RunSummary* sync) {
  if (sync == nullptr || !(run.virtual_time_s > 0) || !(sync->virtual_time_s > 0) ||
      run.tokens <= 0 || sync->tokens <= 0 || run.method == "pretrained") {
    return kNone;
  }
  return (sync->virtual_time_s / static_cast<double>(sync->tokens)) /
         (run.virtual_time_s / static_cast<double>(run.tokens));
}

Table comparison_table(std::span<const RunSummary> runs) {
  Table table;
  table.columns = {
      {"method", "", "the way of training"},
      {"tokens", "", "training tokens of all workers together"},
      {"val loss", "nats", "validation loss per token"},
      {"perplexity", "", "exp(validation loss)"},
      {"vs sync", "%", "perplexity against sync-diloco's"},
      {"time", "virt. s", "virtual time of the run"},
      {"speed-up", "x", "sync-diloco's virtual time per token / this one's"},
      {"to sync loss", "virt. s",
       "virtual time until an evaluation is at or below sync-diloco's final loss + 0.005 nats"},
      {"stale", "mean", "outer steps between dispatch and application"},
      {"stale", "max", "the largest staleness"},
      {"busy", "%", "share of the workers' time spent training"}};
  const std::vector<std::string> labels = run_labels(runs);
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::optional<size_t> sync = sync_baseline(runs, runs[i]);
    table.rows.push_back(cells_of(runs[i], labels[i], sync ? &runs[*sync] : nullptr));
  }
  drop_empty_columns(table);
  return table;
}

Table contribution_table(const RunSummary& run) {
  Table table;
  table.columns = {{"worker", "", "its number"},
                   {"updates", "", "pseudo-gradients that were not refused"},
                   {"steps", "", "local steps"},
                   {"tokens", "", "training tokens"},
                   {"share", "%", "of all tokens"},
                   {"training", "s", "making local steps"},
                   {"waiting", "s", "with nothing to train"}};
  for (size_t i = 0; i < run.per_worker.size(); ++i) {
    const WorkerTotals& worker = run.per_worker[i];
    const double share =
        run.tokens > 0 ? 100 * static_cast<double>(worker.tokens) / static_cast<double>(run.tokens)
                       : kNone;
    table.rows.push_back({cat(i), grouped(worker.updates), grouped(worker.steps),
                          grouped(worker.tokens), fixed(share, 1), fixed(worker.train_s, 1),
                          fixed(worker.wait_s, 1)});
  }
  return table;
}

std::string to_plain_text(const Table& table) {
  const size_t columns = table.columns.size();
  std::vector<size_t> widths(columns);
  for (size_t c = 0; c < columns; ++c) {
    widths[c] = std::max(table.columns[c].name.size(), table.columns[c].unit.size());
    for (const auto& row : table.rows) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string out;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    for (size_t c = 0; c < columns; ++c) {
      line += cat(c == 0 ? "" : "  ", padded(cell_of(c), widths[c], c == 0));
    }
    line.resize(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  add_line([&](size_t c) { return table.columns[c].name; });
  add_line([&](size_t c) { return table.columns[c].unit; });
  add_line([&](size_t c) { return std::string(widths[c], '-'); });
  for (const auto& row : table.rows) add_line([&](size_t c) { return row[c]; });
  return out;
}

std::string to_markdown(const Table& table) {
  std::string names = "|", rules = "|";
  for (size_t c = 0; c < table.columns.size(); ++c) {
    const TableColumn& column = table.columns[c];
    const char* gap = column.name.empty() || column.unit.empty() ? "" : ", ";
    names += cat(" ", column.name, gap, column.unit, " |");
    rules += c == 0 ? " --- |" : " ---: |";
  }
  std::string out = cat(names, "\n", rules, "\n");
  for (const auto& row : table.rows) {
    out += "|";
    for (const std::string& cell : row) out += cat(" ", markdown_cell(cell), " |");
    out += "\n";
  }
  return out;
}

}  // namespace rubato
