#include "rubato/bench/plan_bench.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "rubato/bench/timing.h"
#include "rubato/sim/timing_run.h"

namespace rubato {
namespace {

constexpr int kRounds = 3;
constexpr int64_t kLocalSteps = 50;
constexpr Nanos kForever = std::numeric_limits<Nanos>::max() / 2;

// The toy's speeds and four like them, over and over; no two workers are quite alike.
std::vector<SimWorker> unequal_fleet(int64_t workers) {
  constexpr double kSeconds[] = {0.58, 0.75, 1.51, 3.33, 0.62, 0.91, 1.87, 2.64};
  std::vector<SimWorker> fleet;
  for (int64_t i = 0; i < workers; ++i) {
    fleet.push_back({.ns_per_step = from_seconds(kSeconds[i % 8]) + 1009 * i,
                     .link = {.down_bytes_per_s = 12'500'000,
                              .up_bytes_per_s = 12'500'000,
                              .latency = from_seconds(0.01)}});
  }
  return fleet;
}

SimulationConfig config_of(int64_t workers, bool rounds) {
  SimulationConfig config;
  config.coordinator.local_steps = kLocalSteps;
  config.gate = rounds ? Choice{"barrier", {}} : Choice{"grace", {{"seconds", 0.5}}};
  config.policy = {rounds ? "fixed" : "dylu", {}};
  config.chain = {.links = {}, .rule = rounds ? "nesterov" : "delayed_nesterov", .options = {}};
  config.num_workers = workers;
  config.fleet = unequal_fleet(workers);
  return config;
}

// Dispatches a second of a run that goes on where it was.
double dispatches_per_s(TimingRun& run, double seconds) {
  const int64_t before = run.dispatches();
  const double begin = now_s();
  do {
    run.run_until(kForever, 4096);
  } while (now_s() - begin < seconds);
  return static_cast<double>(run.dispatches() - before) / (now_s() - begin);
}

// The clock alone: every arrival is followed by a task of the same worker.
class BareClock {
 public:
  explicit BareClock(const std::vector<SimWorker>& fleet)
      : clockwork_(fleet, Overlap::kNone, {.down_bytes = 1 << 20, .up_bytes = 1 << 20}) {
    task_.steps = kLocalSteps;
  }
  double dispatches_per_s(double seconds) {
    const double begin = now_s();
    int64_t dispatches = 0;
    do {
      for (int i = 0; i < 4096; ++i, ++dispatches) {
        const Clockwork::Entry entry = clockwork_.take();
        task_.worker = WorkerId(entry.who);
        task_.id = task_.id.next();
        clockwork_.dispatch(task_, entry.at);
      }
    } while (now_s() - begin < seconds);
    return static_cast<double>(dispatches) / (now_s() - begin);
  }

 private:
  Clockwork clockwork_;
  Task task_;
};

}  // namespace

StatusOr<std::vector<PlanBenchRow>> bench_plan(double seconds) {
  std::vector<PlanBenchRow> rows;
  for (const int64_t workers : {4, 16, 256, 10'000}) {
    for (const bool rounds : {false, true}) {
      SimulationConfig config = config_of(workers, rounds);
      BareClock bare(config.fleet);
      RUBATO_ASSIGN_OR_RETURN(
          const std::unique_ptr<TimingRun> run,
          TimingRun::make(std::move(config), {.num_params = 17'000'000,
                                              .shard_sequences = {int64_t{1} << 40},
                                              .tokens_per_sequence = 256}));
      dispatches_per_s(*run, 0.1);  // touches what is touched once
      PlanBenchRow row{.name = cat(workers, " workers, ", rounds ? "sync-diloco" : "dn-dylu"),
                       .workers = workers};
      std::vector<double> shares;
      for (int round = 0; round < kRounds; ++round) {
        const double speed = dispatches_per_s(*run, seconds / 2);
        const double limit = bare.dispatches_per_s(seconds / 4);
        shares.push_back(speed / limit);
        row.dispatches_per_s = std::max(row.dispatches_per_s, speed);
        row.limit_dispatches_per_s = std::max(row.limit_dispatches_per_s, limit);
      }
      row.share_of_limit = median(shares);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace rubato
