#include "rubato/metrics/report_runs.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "rubato/metrics/table.h"

namespace rubato {
namespace {

constexpr int kColours = 6;  // c1 .. c6 of the page's style

/// The methods that nearly every report shows keep their colours from report to report.
int usual_colour(std::string_view method) {
  static constexpr std::array<std::string_view, 4> kUsual = {"k-batch", "sync-diloco",
                                                             "async-nesterov", "dn-dylu"};
  const auto it = std::find(kUsual.begin(), kUsual.end(), method);
  return it == kUsual.end() ? 0 : 1 + static_cast<int>(it - kUsual.begin());
}

/// Hands out colours: the usual one if it is free, else the next that no method of the report
/// needs.
class Palette {
 public:
  explicit Palette(std::span<const RunSummary> runs) {
    for (const RunSummary& run : runs) reserved_.insert(usual_colour(run.method));
  }
  int take(std::string_view method) {
    const int usual = usual_colour(method);
    if (usual != 0 && taken_.insert(usual).second) return usual;
    for (int colour = 1; colour <= kColours; ++colour) {
      if (reserved_.count(colour) == 0 && taken_.insert(colour).second) return colour;
    }
    return 1 + static_cast<int>(repeated_++ % kColours);
  }

 private:
  std::set<int> reserved_, taken_;
  unsigned repeated_ = 0;
};

}  // namespace

std::vector<ReportRun> report_runs(std::span<const RunData> runs) {
  std::vector<RunSummary> summaries;
  for (const RunData& run : runs) summaries.push_back(run.summary);
  const std::vector<std::string> labels = run_labels(summaries);
  std::vector<ReportRun> out;
  std::map<std::string, std::pair<int, std::set<uint64_t>>> families;  // colour, seeds
  Palette palette(summaries);
  for (size_t i = 0; i < runs.size(); ++i) {
    const RunSummary& run = runs[i].summary;
    const std::optional<size_t> sync = sync_baseline(summaries, run);
    ReportRun shown{&runs[i], labels[i], run.method, true, 0, sync ? &runs[*sync] : nullptr};
    const auto family = families.find(run.method);
    const bool grey = run.method == "pretrained" && runs.size() > 1;
    if (family != families.end() && family->second.second.insert(run.seed).second) {
      shown.leads_family = false;
      shown.colour = family->second.first;
    } else {
      // Same method, same seed: another recipe, to be told apart by its colour.
      if (family != families.end() || labels[i].ends_with(cat("(", i + 1, ")"))) {
        shown.family = labels[i];
      }
      shown.colour = grey ? 0 : palette.take(run.method);
      families.try_emplace(run.method, shown.colour, std::set<uint64_t>{run.seed});
    }
    out.push_back(std::move(shown));
  }
  return out;
}

}  // namespace rubato
