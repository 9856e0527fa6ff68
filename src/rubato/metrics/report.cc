#include "rubato/metrics/report.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "rubato/metrics/format.h"
#include "rubato/metrics/report_plots.h"
#include "rubato/metrics/report_style.h"
#include "rubato/metrics/table.h"

namespace rubato {
namespace {

std::string chip(int colour, std::string_view name) {
  return cat("<span class=\"c", colour, "\"><span class=\"chip\"></span><span class=\"name\">",
             escape_markup(name), "</span></span>");
}

/// Distinct values in order of appearance; " and " keeps a list of two readable.
template <class Of>
std::string distinct(std::span<const RunData> runs, const Of& of) {
  std::vector<std::string> values;
  for (const RunData& run : runs) {
    const std::string value = of(run.summary);
    if (value.empty() || std::find(values.begin(), values.end(), value) != values.end()) continue;
    values.push_back(value);
  }
  return join(values, ", ");
}

std::string heading(std::string_view title, std::span<const RunData> runs) {
  int64_t workers = 0, tokens = 0;
  bool finished = true;
  for (const RunData& run : runs) {
    workers = std::max(workers, run.summary.workers);
    tokens = std::max(tokens, run.summary.tokens);
    finished = finished && run.summary.finished;
  }
  std::vector<std::string> facts = {
      cat(runs.size(), runs.size() == 1 ? " run" : " runs"),
      cat(workers, workers == 1 ? " worker" : " workers"),
      cat(short_count(static_cast<double>(tokens)), " tokens a run"),
      cat("seed ", distinct(runs, [](const RunSummary& s) { return cat(s.seed); }))};
  if (!finished) {
    facts.push_back(runs.size() == 1 ? "still running, or stopped" : "not all of them finished");
  }
  return cat("<h1>", escape_markup(title), "</h1>\n<p class=\"soft\">",
             escape_markup(join(facts, " \xc2\xb7 ")), "</p>\n");
}

/// Mean of figures, some of which may be missing.
class Mean {
 public:
  void add(double value) {
    if (!std::isfinite(value)) return;
    sum_ += value;
    ++count_;
  }
  double get() const { return count_ == 0 ? std::nan("") : sum_ / count_; }
  int count() const { return count_; }

 private:
  double sum_ = 0;
  int count_ = 0;
};

/// What the table says of a family of runs beside sync, in a sentence.
std::string finding(const std::vector<ReportRun>& runs, const ReportRun& leader) {
  Mean perplexity, percent, speedup, reached_s, sync_s, sooner;
  int members = 0;
  for (const ReportRun& run : runs) {
    if (run.colour != leader.colour || run.data->summary.method != leader.data->summary.method) {
      continue;
    }
    ++members;
    const RunSummary &own = run.data->summary, &sync = run.sync->summary;
    perplexity.add(own.val_perplexity());
    percent.add(perplexity_vs_sync_percent(own, &sync));
    speedup.add(speedup_vs_sync(own, &sync));
    if (!sync.time_to_sync_loss_s) continue;
    sync_s.add(*sync.time_to_sync_loss_s);
    if (!own.time_to_sync_loss_s) continue;
    reached_s.add(*own.time_to_sync_loss_s);
    sooner.add(*sync.time_to_sync_loss_s / *own.time_to_sync_loss_s);
  }
  std::string text = cat("perplexity ", fixed(perplexity.get(), 2), ", ");
  if (std::fabs(percent.get()) < 0.005) {
    text += "the same as sync-diloco's";
  } else {
    text += cat(fixed(std::fabs(percent.get()), 2), " % ", percent.get() < 0 ? "below" : "above",
                " sync-diloco's");
  }
  if (const double times = speedup.get(); std::isfinite(times)) {
    text += "; the same number of tokens ";
    text += std::fabs(times - 1) < 0.03 ? "in the same time"
                                        : cat(fixed(std::max(times, 1 / times), 2), " times ",
                                              times > 1 ? "sooner" : "later");
  }
  if (sooner.count() > 0) {
    text += cat("; sync's final loss after ", fixed(reached_s.get(), 0),
                " virtual seconds, sync itself after ", fixed(sync_s.get(), 0), " (",
                fixed(sooner.get(), 2), " x)");
    if (sooner.count() < members) text += cat(" in ", sooner.count(), " of ", members, " runs");
  } else if (sync_s.count() > 0) {
    text += "; never at sync's final loss";
  }
  if (members > 1) text += cat(" (means of ", members, " seeds)");
  return cat("<li class=\"c", leader.colour, "\"><span><strong>", escape_markup(leader.family),
             "</strong>: ", escape_markup(text), ".</span></li>\n");
}

std::string findings(const std::vector<ReportRun>& runs) {
  std::string items;
  for (const ReportRun& run : runs) {
    const bool compared = run.leads_family && run.sync != nullptr && run.sync != run.data &&
                          run.data->summary.method != "sync-diloco" && run.colour != 0;
    if (compared && std::isfinite(run.data->summary.val_loss_nats)) {
      items += finding(runs, run);
    }
  }
  return items.empty() ? "" : cat("<ul class=\"findings\">\n", items, "</ul>\n");
}

std::string html_table(const std::vector<ReportRun>& runs, const Table& table) {
  std::string out = "<div class=\"scroll\"><table>\n<thead><tr>";
  for (const TableColumn& column : table.columns) {
    out += cat("<th title=\"", escape_markup(column.meaning), "\">", escape_markup(column.name),
               "<small>", escape_markup(column.unit), "</small></th>");
  }
  out += "</tr></thead>\n<tbody>\n";
  for (size_t r = 0; r < table.rows.size(); ++r) {
    out += cat("<tr><td>", chip(runs[r].colour, table.rows[r][0]), "</td>");
    for (size_t c = 1; c < table.rows[r].size(); ++c) {
      out += cat("<td>", escape_markup(table.rows[r][c]), "</td>");
    }
    out += "</tr>\n";
  }
  return out + "</tbody>\n</table></div>\n";
}

std::string figure(std::string_view caption, std::string_view remark, const std::string& drawing) {
  if (drawing.empty()) return "";
  return cat("<figure><figcaption>", caption, "<small>", remark, "</small></figcaption>\n", drawing,
             "</figure>\n");
}

std::string section(std::string_view title, std::string_view words, const std::string& content) {
  if (content.empty()) return "";
  return cat("<section><h2>", title, "</h2>\n<p class=\"soft\">", words, "</p>\n", content,
             "</section>\n");
}

std::string grid(const std::string& content, std::string_view css_class) {
  return content.empty() ? "" : cat("<div class=\"", css_class, "\">\n", content, "</div>\n");
}

std::string scrolling(const std::string& content) { return grid(content, "scroll"); }

std::string loss_words(const std::vector<ReportRun>& runs) {
  std::string words = "Tokens count all workers together.";
  if (runs.size() > 1 && runs.front().sync != nullptr) {
    words +=
        " A ring marks the first evaluation at or below sync-diloco's final loss + 0.005 nats.";
  }
  return words;
}

bool anything_travels(const std::vector<ReportRun>& runs) {
  return std::ranges::any_of(runs, [](const ReportRun& run) {
    return std::ranges::any_of(run.data->log.spans, [](const TaskSpan& span) {
      return span.kind == SpanKind::kReceive || span.kind == SpanKind::kSend;
    });
  });
}

std::string timeline_section(const std::vector<ReportRun>& runs) {
  static constexpr std::string_view kLegend =
      "<div class=\"legend\"><span><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\">"
      "<rect width=\"13\" height=\"14\" class=\"block c0\"/><rect x=\"13\" width=\"13\" "
      "height=\"14\" class=\"block c0\"/></svg>training, one block a task</span>"
      "<span><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\"><rect width=\"26\" height=\"14\" "
      "class=\"wait\"/></svg>waiting</span>"
      "<span><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\"><rect x=\"1\" y=\"1\" width=\"24\" "
      "height=\"12\" class=\"lost\"/></svg>lost</span>";
  static constexpr std::string_view kTravelLegend =
      "<span><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\"><rect width=\"26\" height=\"3\" "
      "class=\"receive\"/></svg>receiving</span>"
      "<span><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\"><rect y=\"11\" width=\"26\" "
      "height=\"3\" class=\"send\"/></svg>sending</span>";
  const std::string drawings = timelines(runs);
  return section("Who trains, who waits",
                 "The first rounds of every run on the same stretch of virtual time; on the right "
                 "the share of the whole run that was spent waiting.",
                 drawings.empty() ? ""
                                  : cat(kLegend, anything_travels(runs) ? kTravelLegend : "",
                                        "</div>\n", scrolling(drawings)));
}

std::string worker_legend(const std::vector<ReportRun>& runs) {
  size_t workers = 0;
  for (const ReportRun& run : runs) {
    workers = std::max(workers, run.data->summary.per_worker.size());
  }
  std::string out = "<div class=\"legend\">";
  for (size_t w = 0; w < std::min<size_t>(workers, 8); ++w) {
    out +=
        cat("<span><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\"><rect width=\"26\" "
            "height=\"14\" class=\"part p",
            w, "\"/></svg>worker ", w, "</span>");
  }
  return out + "</div>\n";
}

std::string recipes(const std::vector<ReportRun>& runs) {
  std::vector<const ReportRun*> different;
  std::set<std::string> seen;
  for (const ReportRun& run : runs) {
    if (!run.data->recipe.empty() && seen.insert(run.data->recipe).second) {
      different.push_back(&run);
    }
  }
  std::string out;
  for (const ReportRun* run : different) {
    const std::string whose = different.size() == 1 ? "" : cat(" of ", escape_markup(run->label));
    out += cat("<details><summary>Recipe", whose, "</summary>\n<pre>",
               escape_markup(run->data->recipe), "</pre></details>\n");
  }
  return out;
}

std::string provenance(std::span<const RunData> runs) {
  const auto item = [&](std::string_view name, const std::string& values) {
    return values.empty() ? std::string() : cat(name, " ", escape_markup(values), " \xc2\xb7 ");
  };
  std::string out =
      cat(item("build", distinct(runs, [](const auto& s) { return s.build_id; })),
          item("recipe", distinct(runs, [](const auto& s) { return s.recipe_digest; })),
          item("data", distinct(runs, [](const auto& s) { return s.data_digest; })),
          item("seed", distinct(runs, [](const auto& s) { return cat(s.seed); })));
  return cat("<footer>", out, "drawn by Rubato</footer>\n");
}

}  // namespace

std::string render_report(std::string_view title, std::span<const RunData> runs) {
  const std::vector<ReportRun> shown = report_runs(runs);
  std::vector<RunSummary> summaries;
  for (const RunData& run : runs) summaries.push_back(run.summary);
  const std::string losses =
      grid(cat(figure("Loss against tokens", "What a token is worth under each method.",
                      loss_against_tokens(shown)),
               figure("Loss against virtual time",
                      "What a second is worth: the waiting counts too.", loss_against_time(shown)),
               figure("Training loss against tokens",
                      "Mean over the arriving tasks; a jump upwards is an outer step too far.",
                      training_loss_against_tokens(shown)),
               figure("Distance to sync-diloco at equal tokens", "Below the dashed line is better.",
                      gap_against_tokens(shown))),
           "plots");
  const std::string shares = worker_shares(shown);
  return cat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
      escape_markup(title), "</title>\n<style>", kReportStyle, "</style>\n</head>\n<body>\n",
      kReportDefinitions, "<main>\n", heading(title, runs), findings(shown),
      html_table(shown, comparison_table(summaries)), section("Loss", loss_words(shown), losses),
      timeline_section(shown),
      section("Staleness",
              "Outer steps between a task's dispatch and the moment its update arrives; shares of "
              "all updates.",
              grid(staleness_histograms(shown), "plots small")),
      section("Who contributed what", "Share of the local steps that each worker did.",
              shares.empty() ? "" : cat(worker_legend(shown), grid(shares, "plots"))),
      recipes(shown), provenance(runs), "</main>\n</body>\n</html>\n");
}

Status write_report(FileSystem& files, const std::string& path, std::string_view title,
                    std::span<const RunData> runs) {
  return files.replace_file(path, render_report(title, runs));
}

}  // namespace rubato
