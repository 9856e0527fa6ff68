#include "rubato/rpc/metrics_text.h"

#include <array>
#include <charconv>
#include <utility>
#include <vector>

#include "rubato/base/text.h"

namespace rubato {
namespace {

// Shortest text that reads back as the same number.
std::string number(double value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), end.ptr};
}

double seconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e9; }

class Page {
 public:
  // A family without labels.
  void add(std::string_view type, std::string_view name, std::string_view help, double value) {
    head(type, name, help);
    text_ += cat(name, " ", number(value), "\n");
  }
  void add(std::string_view type, std::string_view name, std::string_view help, int64_t value) {
    head(type, name, help);
    text_ += cat(name, " ", value, "\n");
  }
  // A family with a value for each value of one label; labels are words of ours.
  void add(std::string_view type, std::string_view name, std::string_view help,
           std::string_view label,
           const std::vector<std::pair<std::string_view, int64_t>>& values) {
    head(type, name, help);
    for (const auto& [word, value] : values)
      text_ += cat(name, "{", label, "=\"", word, "\"} ", value, "\n");
  }
  std::string take() { return std::move(text_); }

 private:
  void head(std::string_view type, std::string_view name, std::string_view help) {
    text_ += cat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
  }
  std::string text_;
};

constexpr std::string_view kGauge = "gauge", kCounter = "counter";

void add_workers(Page& page, const v1::StatusReply& status) {
  int64_t training = 0, waiting = 0, absent = 0, lost = 0;
  for (const v1::WorkerStatus& worker : status.workers()) {
    training += worker.state() == v1::WorkerStatus::STATE_TRAINING;
    waiting += worker.state() == v1::WorkerStatus::STATE_WAITING;
    absent += worker.state() == v1::WorkerStatus::STATE_ABSENT;
    lost += worker.state() == v1::WorkerStatus::STATE_LOST;
  }
  page.add(kGauge, "rubato_workers", "Workers that ever joined, by what they do now.", "state",
           {{"training", training}, {"waiting", waiting}, {"absent", absent}, {"lost", lost}});
}

}  // namespace

std::string metrics_text(const v1::StatusReply& s) {
  Page page;
  page.add(kCounter, "rubato_steps_total", "Local steps of all workers, applied or discarded.",
           s.steps());
  page.add(kGauge, "rubato_budget_steps", "Local steps after which the run ends.",
           s.budget_steps());
  page.add(kCounter, "rubato_tokens_total", "Training tokens of those steps.", s.tokens());
  page.add(kGauge, "rubato_version", "Outer steps that moved the parameters.", s.version());
  page.add(kCounter, "rubato_updates_total", "Deltas that reached the coordinator, by verdict.",
           "verdict",
           {{"applied", s.applied()}, {"discarded", s.discarded()}, {"rejected", s.rejected()}});
  page.add(kCounter, "rubato_losses_total", "Times that a worker was lost with a task in flight.",
           s.losses());
  add_workers(page, s);
  page.add(kGauge, "rubato_tasks_in_flight", "Tasks that are somebody's work now.",
           s.tasks_in_flight());
  page.add(kGauge, "rubato_paused", "1 while nobody is given a task.",
           static_cast<int64_t>(s.paused()));
  if (s.has_loss_nats())
    page.add(kGauge, "rubato_validation_loss_nats", "Of the last evaluation.", s.loss_nats());
  page.add(kGauge, "rubato_spool_bytes", "Uploads on disk.", s.spool_bytes());
  if (s.has_spool_quota_bytes())
    page.add(kGauge, "rubato_spool_quota_bytes", "What uploads may take on disk.",
             s.spool_quota_bytes());
  page.add(kGauge, "rubato_versions_bytes", "Published parameters on disk.", s.versions_bytes());
  page.add(kGauge, "rubato_journal_bytes", "The journal on disk.", s.journal_bytes());
  page.add(kGauge, "rubato_disk_free_bytes", "Room where the run lies.", s.disk_free_bytes());
  page.add(kCounter, "rubato_received_bytes_total", "Of deltas, since the coordinator began.",
           s.received_bytes());
  page.add(kCounter, "rubato_sent_bytes_total",
           "Of parameters and files, since the coordinator began.", s.sent_bytes());
  page.add(kCounter, "rubato_journal_syncs_total", "Syncs of the journal.", s.journal_syncs());
  page.add(kCounter, "rubato_journal_sync_seconds_total", "Time spent in them.",
           seconds(s.journal_sync_ns()));
  page.add(kGauge, "rubato_events_waiting", "Events that wait for the driver.", s.events_waiting());
  page.add(kGauge, "rubato_driver_silent_seconds", "Since the driver's loop began its last round.",
           seconds(s.driver_silent_ns()));
  page.add(kGauge, "rubato_uptime_seconds", "Since the coordinator began.", seconds(s.uptime_ns()));
  return page.take();
}

}  // namespace rubato
