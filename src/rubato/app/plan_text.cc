// A plan as people and programs read it.
#include <nlohmann/json.hpp>

#include "rubato/app/plan.h"
#include "rubato/metrics/format.h"

namespace rubato {

Table plan_table(const Plan& plan) {
  Table table;
  table.columns = {{"method", "", ""},
                   {"H", "steps", "local steps of the fastest worker's task"},
                   {"overlap", "", ""},
                   {"up/down", "", "codecs of pseudo-gradients and parameters"},
                   {"speed", "%", "of all workers' steps without any wait"},
                   {"1e9 tokens", "h", "time for them"},
                   {"staleness", "1", "mean"},
                   {"p90", "1", "of nine arrivals in ten at most"},
                   {"max", "1", ""},
                   {"up", "GB/day", "to the coordinator, all workers"},
                   {"down", "GB/day", "from it"},
                   {"limits", "", "whether the row keeps them"}};
  for (const PlanRow& row : plan.rows) {
    const TimingFigures& figures = row.figures;
    table.rows.push_back(
        {row.method, cat(row.local_steps), row.overlap, cat(row.codecs.up, "/", row.codecs.down),
         fixed(100 * figures.utilisation(), 1), fixed(row.seconds_per_1b_tokens() / 3600, 2),
         fixed(figures.staleness_mean(), 2), cat(figures.staleness_quantile(0.9)),
         cat(figures.staleness_quantile(1)), fixed(row.gb_up_per_day(), 2),
         fixed(row.gb_down_per_day(), 2), row.keeps_limits ? "kept" : "broken"});
  }
  return table;
}

std::string plan_keys(const PlanRow& row) {
  if (row.method == "k-batch") return "run.method = \"k-batch\"";
  return cat("run.method = \"", row.method, "\", train.local_steps = ", row.local_steps,
             ", train.overlap = \"", row.overlap, "\", codec.up = \"", row.codecs.up,
             "\", codec.down = \"", row.codecs.down, "\"");
}

nlohmann::ordered_json plan_json(const Plan& plan) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const PlanRow& row : plan.rows) {
    const TimingFigures& figures = row.figures;
    rows.push_back({{"method", row.method},
                    {"local_steps", row.local_steps},
                    {"overlap", row.overlap},
                    {"codec_up", row.codecs.up},
                    {"codec_down", row.codecs.down},
                    {"utilisation", figures.utilisation()},
                    {"tokens_per_s", figures.tokens_per_s()},
                    {"s_per_1b_tokens", row.seconds_per_1b_tokens()},
                    {"staleness_mean", figures.staleness_mean()},
                    {"staleness_p50", figures.staleness_quantile(0.5)},
                    {"staleness_p90", figures.staleness_quantile(0.9)},
                    {"staleness_max", figures.staleness_quantile(1)},
                    {"staleness_counts", figures.staleness},
                    {"discarded", figures.discarded},
                    {"gb_up_per_day", row.gb_up_per_day()},
                    {"gb_down_per_day", row.gb_down_per_day()},
                    {"outer_steps_per_day",
                     static_cast<double>(figures.versions) * 86400 / to_seconds(figures.window)},
                    {"arrivals", figures.arrivals},
                    {"virtual_time_s", to_seconds(figures.window)},
                    {"keeps_limits", row.keeps_limits}});
  }
  const PlanRow& best = plan.rows[plan.recommended];
  return {{"schema_version", 1},
          {"workers", plan.workers},
          {"params", plan.num_params},
          {"ideal_tokens_per_s", plan.ideal_tokens_per_s},
          {"rows", rows},
          {"left_out", plan.left_out},
          {"recommended",
           {{"row", plan.recommended},
            {"run.method", best.method},
            {"train.local_steps", best.local_steps},
            {"train.overlap", best.overlap},
            {"codec.up", best.codecs.up},
            {"codec.down", best.codecs.down},
            {"reason", plan.reason}}}};
}

}  // namespace rubato
