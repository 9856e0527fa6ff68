#include "rubato/web/run_gallery.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "rubato/base/one_line.h"
#include "rubato/metrics/run_data.h"
#include "rubato/metrics/sink.h"

namespace rubato {
namespace {

using nlohmann::ordered_json;

constexpr int kRoundsBetweenSearches = 10;
constexpr int64_t kLongestRecipe = 256 << 10;    // [bytes]
constexpr int64_t kLongestSummary = 1024 << 10;  // [bytes]

ordered_json number(double value) {
  if (!std::isfinite(value)) return nullptr;
  return value;
}

}  // namespace

struct RunGallery::Run {
  Run(FileSystem& files, std::string run_name, std::string path)
      : name(std::move(run_name)), directory(std::move(path)), tail(files, directory) {}

  const std::string name, directory;
  RunTail tail;       // only the thread that looks
  std::string error;  // "": readable
  int64_t epoch = 0;  // how often it was begun anew while somebody watched
  RunView view;
  std::optional<RunSummary> summary;  // once it has one
};

GalleryConfig gallery_of(FileSystem& files, const std::string& path) {
  if (files.exists(metrics_path(path))) return {parent_path(path), base_name(path), true};
  return {path, "", true};
}

RunGallery::RunGallery(FileSystem& files, GalleryConfig config)
    : files_(files), config_(std::move(config)) {
  if (!config_.focus.empty()) add_run(config_.focus);
}

RunGallery::~RunGallery() = default;

bool RunGallery::look() {
  if (config_.siblings && rounds_++ % kRoundsBetweenSearches == 0) find_runs();
  bool more = false;
  for (size_t i = 0; i < runs_.size(); ++i) more = look_at(*runs_[i]) || more;
  return more;
}

void RunGallery::find_runs() {
  const auto entries = files_.list(config_.directory);
  if (!entries.ok()) return;  // no run has begun yet
  size_t left_out = 0;
  for (const DirectoryEntry& entry : *entries) {
    if (!entry.is_directory) continue;
    const bool is_known = std::ranges::any_of(
        runs_, [&](const std::unique_ptr<Run>& run) { return run->name == entry.name; });
    if (is_known || !files_.exists(metrics_path(join_path(config_.directory, entry.name))))
      continue;
    if (runs_.size() < kMostRuns) {
      add_run(entry.name);
    } else {
      ++left_out;
    }
  }
  const std::lock_guard lock(mutex_);
  left_out_ = left_out;
}

void RunGallery::add_run(const std::string& name) {
  auto run = std::make_unique<Run>(files_, name, join_path(config_.directory, name));
  const std::lock_guard lock(mutex_);
  runs_.push_back(std::move(run));
}

bool RunGallery::look_at(Run& run) {
  if (!run.error.empty()) return false;
  RecordLog log;
  const StatusOr<RunTail::Found> found = run.tail.read(log);
  if (found.ok() && *found == RunTail::Found::kNothing) {
    look_at_summary(run);
    return false;
  }
  const std::lock_guard lock(mutex_);
  if (!found.ok()) {
    run.error = one_line(std::string(found.status().message()));
    return false;
  }
  if (*found == RunTail::Found::kRestarted) {
    ++run.epoch;
    run.view = RunView();
    run.summary.reset();
    return true;
  }
  run.view.add(log);
  for (size_t i = 0; i < runs_.size(); ++i) {
    if (runs_[i].get() == &run) latest_ = static_cast<int64_t>(i);
  }
  return true;
}

// A resumed run has none until it ends again.
void RunGallery::look_at_summary(Run& run) {
  const std::string path = summary_path(run.directory);
  const bool is_there = files_.exists(path);
  if (is_there == run.summary.has_value()) return;
  std::optional<RunSummary> summary;
  if (is_there) {
    const StatusOr<std::string> text = files_.read_range(path, 0, kLongestSummary);
    if (!text.ok()) return;
    StatusOr<RunSummary> read = summary_from_json(*text);
    if (!read.ok()) return;
    summary = *std::move(read);
  }
  const std::lock_guard lock(mutex_);
  run.summary = std::move(summary);
}

// The one that was asked for; else what is going on; else what came out best.
int64_t RunGallery::suggested_focus() const {
  const bool all_over =
      std::ranges::all_of(runs_, [](const auto& run) { return run->summary.has_value(); });
  int64_t best = latest_;
  for (size_t i = 0; i < runs_.size(); ++i) {
    if (runs_[i]->name == config_.focus) return static_cast<int64_t>(i);
    const auto loss = [&](size_t run) { return runs_[run]->summary->val_loss_nats; };
    if (all_over && loss(i) < loss(static_cast<size_t>(best))) best = static_cast<int64_t>(i);
  }
  return best;
}

ordered_json RunGallery::list() const {
  const std::lock_guard lock(mutex_);
  ordered_json rows = ordered_json::array();
  int64_t focus = suggested_focus();
  for (size_t i = 0; i < runs_.size(); ++i) {
    const Run& run = *runs_[i];
    const EvalRecord* eval = run.view.last_eval();
    ordered_json row = {{"id", i},
                        {"name", shortened(run.name)},
                        {"epoch", run.epoch},
                        {"records", run.view.records()},
                        {"error", run.error},
                        {"finished", run.summary && run.summary->finished},
                        {"failure", run.summary ? shortened(run.summary->failure) : ""},
                        {"method", eval != nullptr ? shortened(eval->method) : ""}};
    row["loss_nats"] = eval != nullptr ? number(eval->loss_nats) : nullptr;
    if (run.summary) {
      const RunSummary& summary = *run.summary;
      row["method"] = shortened(summary.method);
      row["seed"] = summary.seed;
      row["loss_nats"] = number(summary.val_loss_nats);
      row["tokens"] = summary.tokens;
      row["virtual_time_s"] = number(summary.virtual_time_s);
      row["utilisation"] = number(summary.utilisation);
      row["staleness_mean"] = number(summary.staleness_mean);
      row["bytes_up"] = summary.bytes_up;
      row["time_to_sync_loss_s"] =
          summary.time_to_sync_loss_s ? number(*summary.time_to_sync_loss_s) : nullptr;
    }
    rows.push_back(std::move(row));
  }
  return {{"focus", focus}, {"left_out", left_out_}, {"runs", std::move(rows)}};
}

std::optional<ordered_json> RunGallery::changes(int64_t id, int64_t epoch, int64_t since,
                                                bool only_evals) const {
  const std::lock_guard lock(mutex_);
  if (id < 0 || id >= static_cast<int64_t>(runs_.size())) return std::nullopt;
  const Run& run = *runs_[static_cast<size_t>(id)];
  if (epoch != run.epoch || since < 0 || since > run.view.records()) since = 0;
  ordered_json out = {
      {"id", id}, {"epoch", run.epoch}, {"since", since}, {"records", run.view.records()}};
  if (only_evals) {
    run.view.write_evals(since, out);
  } else {
    run.view.write_all(since, out);
  }
  return out;
}

std::optional<std::string> RunGallery::recipe(int64_t id) const {
  std::string directory;
  {
    const std::lock_guard lock(mutex_);
    if (id < 0 || id >= static_cast<int64_t>(runs_.size())) return std::nullopt;
    directory = runs_[static_cast<size_t>(id)]->directory;
  }
  const StatusOr<std::string> text =
      files_.read_range(join_path(directory, "recipe.toml"), 0, kLongestRecipe);
  return text.ok() ? *text : std::string();
}

}  // namespace rubato
