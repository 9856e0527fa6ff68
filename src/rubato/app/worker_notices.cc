#include "rubato/app/worker_notices.h"

#include <algorithm>

#include "rubato/base/text.h"
#include "rubato/metrics/format.h"

namespace rubato {

Notice calibrated_notice(Nanos ns_per_step) {
  const double seconds = to_seconds(ns_per_step);
  return {.event = "calibrated",
          .text = cat("one local step takes ", fixed(seconds, 4), " s"),
          .facts = {{"seconds_per_step", seconds}}};
}

Notice island_notice(int processes, int threads) {
  return {.event = "island",
          .text = cat("an island of ", processes, " processes, here ", threads,
                      threads == 1 ? " thread" : " threads"),
          .facts = {{"processes", processes}, {"threads", threads}}};
}

Notice task_notice(const TaskReport& report) {
  const double seconds = std::max(to_seconds(report.train_ns), 1e-9);
  const double tokens_per_s = static_cast<double>(report.tokens) / seconds;
  const double wait_s = to_seconds(report.fetch_ns + report.push_ns);
  return {.event = "task",
          .text = cat("task ", report.task, "  steps ", report.steps, "  loss ",
                      fixed(report.mean_loss, 4), "  ", fixed(tokens_per_s / 1000, 1),
                      "k tok/s  wait ", fixed(wait_s, 3), " s  ", report.verdict),
          .facts = {{"task", report.task},
                    {"steps", report.steps},
                    {"tokens", report.tokens},
                    {"loss_nats", report.mean_loss},
                    {"tokens_per_s", tokens_per_s},
                    {"wait_s", wait_s},
                    {"verdict", report.verdict}}};
}

}  // namespace rubato
