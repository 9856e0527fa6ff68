#include "rubato/rpc/status_text.h"

#include <nlohmann/json.hpp>

#include "rubato/base/ids.h"
#include "rubato/base/text.h"
#include "rubato/metrics/format.h"
#include "rubato/metrics/table.h"

namespace rubato {
namespace {

using Json = nlohmann::ordered_json;

// The value of an optional field, or null.
template <class T>
Json present(bool has, const T& value) {
  return has ? Json(value) : Json();
}

std::string_view phase_text(const v1::StatusReply& s) {
  if (s.finished()) return "finished";
  if (s.draining()) return "draining";
  if (s.paused()) return "paused";
  return s.started() ? "training" : "waiting for workers";
}

Table worker_table(const v1::StatusReply& s) {
  Table table;
  table.columns = {{"worker", "", ""},
                   {"state", "", ""},
                   {"tasks", "", ""},
                   {"heard", "s ago", ""},
                   {"speed", "steps/s", ""}};
  for (const v1::WorkerStatus& worker : s.workers()) {
    table.rows.push_back({cat(worker.worker()), std::string(worker_state_text(worker.state())),
                          cat(worker.tasks_in_flight()),
                          worker.has_silent_ns() ? fixed(to_seconds(worker.silent_ns()), 1) : "-",
                          worker.has_steps_per_s() ? fixed(worker.steps_per_s(), 2) : "-"});
  }
  return table;
}

}  // namespace

std::string_view worker_state_text(v1::WorkerStatus::State state) {
  switch (state) {
    case v1::WorkerStatus::STATE_TRAINING:
      return "training";
    case v1::WorkerStatus::STATE_WAITING:
      return "waiting";
    case v1::WorkerStatus::STATE_ABSENT:
      return "absent";
    case v1::WorkerStatus::STATE_LOST:
      return "lost";
    default:
      return "unknown";
  }
}

std::string status_json(const v1::StatusReply& s) {
  Json workers = Json::array();
  for (const v1::WorkerStatus& worker : s.workers()) {
    workers.push_back(
        {{"worker", worker.worker()},
         {"state", worker_state_text(worker.state())},
         {"tasks_in_flight", worker.tasks_in_flight()},
         {"silent_s", present(worker.has_silent_ns(), to_seconds(worker.silent_ns()))},
         {"steps_per_s", present(worker.has_steps_per_s(), worker.steps_per_s())}});
  }
  const Json object = {
      {"run", s.run()},
      {"incarnation", s.incarnation()},
      {"build", s.build()},
      {"method", s.method()},
      {"state", phase_text(s)},
      {"version", s.version()},
      {"steps", s.steps()},
      {"budget_steps", s.budget_steps()},
      {"tokens", s.tokens()},
      {"steps_per_s", s.steps_per_s()},
      {"tokens_per_s", s.tokens_per_s()},
      {"applied", s.applied()},
      {"discarded", s.discarded()},
      {"rejected", s.rejected()},
      {"losses", s.losses()},
      {"tasks_in_flight", s.tasks_in_flight()},
      {"workers", workers},
      {"loss_nats", present(s.has_loss_nats(), s.loss_nats())},
      {"loss_steps", present(s.has_loss_nats(), s.loss_steps())},
      {"spool_bytes", s.spool_bytes()},
      {"spool_quota_bytes", present(s.has_spool_quota_bytes(), s.spool_quota_bytes())},
      {"versions_bytes", s.versions_bytes()},
      {"journal_bytes", s.journal_bytes()},
      {"disk_free_bytes", s.disk_free_bytes()},
      {"uptime_s", to_seconds(s.uptime_ns())},
      {"received_bytes", s.received_bytes()},
      {"sent_bytes", s.sent_bytes()},
      {"journal_syncs", s.journal_syncs()},
      {"journal_sync_s", to_seconds(s.journal_sync_ns())},
      {"driver_silent_s", to_seconds(s.driver_silent_ns())},
      {"events_waiting", s.events_waiting()}};
  return object.dump();
}

std::string status_text(const v1::StatusReply& s) {
  const auto bytes = [](int64_t count) { return short_count(static_cast<double>(count)) + "B"; };
  const auto budget = static_cast<double>(std::max<int64_t>(s.budget_steps(), 1));
  const double share = static_cast<double>(s.steps()) / budget;
  const double left_s =
      s.steps_per_s() > 0 ? static_cast<double>(s.budget_steps() - s.steps()) / s.steps_per_s() : 0;
  std::string text =
      cat(phase_text(s), "  ", s.method(), "  run ", s.run().substr(0, 8), "  up ",
          clock_time(to_seconds(s.uptime_ns())), "\n", "steps    ", grouped(s.steps()), " / ",
          grouped(s.budget_steps()), " (", fixed(100 * share, 1), " %)  ",
          fixed(s.steps_per_s(), 2), " /s", left_s > 0 ? cat("  ETA ", clock_time(left_s)) : "",
          "\n", "tokens   ", short_count(static_cast<double>(s.tokens())), "  ",
          short_count(s.tokens_per_s()), " /s\n", "version  ", grouped(s.version()));
  if (s.has_loss_nats())
    text += cat("  loss ", fixed(s.loss_nats(), 4), " at step ", grouped(s.loss_steps()));
  text += cat("\n", "deltas   ", grouped(s.applied()), " applied, ", grouped(s.discarded()),
              " discarded, ", grouped(s.rejected()), " rejected, ", grouped(s.tasks_in_flight()),
              " tasks in flight\n", "network  ", bytes(s.received_bytes()), " received, ",
              bytes(s.sent_bytes()), " sent\n", "disk     spool ", bytes(s.spool_bytes()));
  if (s.has_spool_quota_bytes()) text += cat(" of ", bytes(s.spool_quota_bytes()));
  text += cat(", versions ", bytes(s.versions_bytes()), ", journal ", bytes(s.journal_bytes()),
              ", free ", bytes(s.disk_free_bytes()), "\n");
  return text + (s.workers().empty() ? "no worker has joined yet\n"
                                     : "\n" + to_plain_text(worker_table(s)));
}

}  // namespace rubato
