// A timing run has the history of the simulation of the same fleet, without its floats.
#include "rubato/sim/timing_run.h"

#include <algorithm>

#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr Nanos kForever = int64_t{1} << 60;

ModelFacts facts_of(const Workload& workload) {
  return {workload.layout().size(), {int64_t{1} << 40}, workload.tokens_per_sequence()};
}

std::unique_ptr<TimingRun> timing_run(const SimulationConfig& config, const ModelFacts& model) {
  auto run = TimingRun::make(config, model);
  EXPECT_TRUE(run.ok()) << run.status();
  return std::move(run).value();
}

// What the records of a simulation say about [0, end].
struct Recorded {
  int64_t arrivals = 0, bytes_up = 0, bytes_down = 0;
  double tokens = 0;
  std::vector<int64_t> staleness;
};

Recorded recorded(const RecordLog& log, Nanos end, const SimulationConfig& config) {
  Recorded result;
  for (const UpdateRecord& update : log.updates) {
    if (update.virtual_time_ns > end) continue;
    ++result.arrivals;
    result.bytes_up += update.bytes_up;
    result.bytes_down += update.bytes_down;
    const auto place = static_cast<size_t>(update.staleness);
    if (place >= result.staleness.size()) result.staleness.resize(place + 1);
    ++result.staleness[place];
  }
  for (const TaskSpan& span : log.spans) {
    if (span.kind != SpanKind::kTrain || span.begin_ns >= end) continue;
    const Nanos ns_per_step = config.fleet[static_cast<size_t>(span.worker.value())].ns_per_step;
    result.tokens += static_cast<double>(std::min(span.end_ns, end) - span.begin_ns) /
                     static_cast<double>(ns_per_step) *
                     static_cast<double>(config.worker.batch_sequences);
  }
  return result;
}

TEST(TimingRun, HasTheHistoryOfTheSimulation) {
  const auto workload = quadratic_workload();
  for (const Overlap overlap : kOverlaps) {
    SCOPED_TRACE(static_cast<int>(overlap));
    const SimulationConfig config = linked_config(overlap);
    const SimRun simulated = run_to_end(config, *workload);
    const Nanos last = simulated.log.updates.back().virtual_time_ns;
    const Nanos end = last * 6 / 10;  // what is left of the budget binds nobody before
    const auto run = timing_run(config, facts_of(*workload));
    const TimingFigures figures = run->run_until(end, kForever);
    const Recorded want = recorded(simulated.log, run->virtual_time(), config);
    EXPECT_GT(figures.arrivals, 20);
    EXPECT_EQ(figures.arrivals, want.arrivals);
    EXPECT_EQ(figures.staleness, want.staleness);
    EXPECT_EQ(figures.bytes_up, want.bytes_up);
    EXPECT_EQ(figures.bytes_down, want.bytes_down);
    EXPECT_NEAR(figures.tokens, want.tokens, 1e-6 * want.tokens);
  }
}

TEST(TimingRun, ARoundIsAsSlowAsItsSlowestMember) {
  const auto workload = quadratic_workload();
  SimulationConfig config = toy_config();
  config.gate = {"barrier", {}};
  config.chain = {.links = {}, .rule = "nesterov", .options = {}};
  const auto run = timing_run(config, facts_of(*workload));
  const TimingFigures figures = run->run_until(10 * run->longest_task(), kForever);
  EXPECT_EQ(figures.versions, 10);
  EXPECT_EQ(figures.arrivals, 40);
  EXPECT_EQ(figures.staleness_quantile(1), 0);
  const double ideal = 1 / 0.58 + 1 / 0.75 + 1 / 1.51 + 1 / 3.33;
  EXPECT_NEAR(figures.ideal_tokens_per_s, ideal, 1e-9);
  EXPECT_NEAR(figures.utilisation(), 4 / 3.33 / ideal, 1e-9);
}

TEST(TimingRun, ALinkTakesItsShareOfALoneWorkersTime) {
  SimulationConfig config = toy_config();
  config.num_workers = 1;
  config.fleet = {{.ns_per_step = kNanosPerSecond}};
  const ModelFacts model{1000, {1 << 20}, 1};  // 4000 bytes each way
  EXPECT_NEAR(timing_run(config, model)->run_until(from_seconds(1000), kForever).utilisation(), 1,
              1e-12);
  config.fleet[0].link = {
      .down_bytes_per_s = 2000, .up_bytes_per_s = 1000, .latency = from_seconds(1)};
  // 20 steps of a second, two seconds down, four up, two of latency.
  const TimingFigures figures =
      timing_run(config, model)->run_until(from_seconds(28 * 50), kForever);
  EXPECT_NEAR(figures.utilisation(), 20.0 / 28, 1e-12);
  EXPECT_EQ(figures.bytes_up, 50 * 4000);
}

TEST(TimingRun, KBatchExchangesInEveryStep) {
  SimulationConfig config = toy_config();
  config.gate = {"free", {}};
  config.chain = {.links = {}, .rule = "sgd", .options = {}};
  config.worker.batch_sequences = 2;
  config.stands_for = equal_fleet(2);
  for (SimWorker& worker : config.stands_for) worker.link.up_bytes_per_s = 4000;
  config.fleet = {{.ns_per_step = kNanosPerSecond}};
  const auto run = timing_run(config, {1000, {1 << 20}, 1});
  const TimingFigures figures = run->run_until(from_seconds(400), kForever);
  EXPECT_NEAR(figures.utilisation(), 0.5, 1e-12);  // a second of work, a second for 4000 bytes
  EXPECT_NEAR(figures.tokens_per_s(), 1, 1e-12);   // two a step of two seconds
  EXPECT_EQ(figures.bytes_up, 200 * 2 * 4000);
}

TEST(TimingRun, WhatIsMeasuredBeginsWithTheCall) {
  SimulationConfig config = toy_config();
  const auto workload = quadratic_workload();
  const auto once = timing_run(config, facts_of(*workload));
  const auto twice = timing_run(config, facts_of(*workload));
  const Nanos half = 5 * once->longest_task();
  const TimingFigures whole = once->run_until(2 * half, kForever);
  const TimingFigures first = twice->run_until(half, kForever);
  const TimingFigures second = twice->run_until(2 * half, kForever);
  EXPECT_EQ(first.arrivals + second.arrivals, whole.arrivals);
  EXPECT_EQ(first.window + second.window, whole.window);
  EXPECT_NEAR(first.tokens + second.tokens, whole.tokens, 1e-6 * whole.tokens);
  EXPECT_EQ(once->coordinator().effects_digest(), twice->coordinator().effects_digest());
}

TEST(TimingRun, TenThousandWorkers) {
  SimulationConfig config = toy_config();
  config.policy = {"dylu", {}};
  config.num_workers = 10'000;
  config.fleet.clear();
  for (int64_t i = 0; i < config.num_workers; ++i)
    config.fleet.push_back({.ns_per_step = kNanosPerSecond + 100'000 * i});
  const auto run = timing_run(config, {1000, {int64_t{1} << 40}, 1});
  const TimingFigures figures = run->run_until(kForever, 20'000);
  EXPECT_EQ(run->dispatches(), 20'000);
  EXPECT_GT(figures.utilisation(), 0.95);
}

TEST(TimingRun, SaysWhatIsWrongWithTheFleet) {
  SimulationConfig config = toy_config();
  config.fleet[2].link.latency = -1;
  EXPECT_EQ(TimingRun::make(config, {1000, {1}, 1}).status().message().substr(0, 13),
            "[fleet] got -");
  config = toy_config();
  config.gate = {"barrier", {}};
  config.coordinator.overlap = Overlap::kFull;
  EXPECT_TRUE(absl::IsInvalidArgument(TimingRun::make(config, {1000, {1}, 1}).status()));
}

TEST(TimingFigures, QuantilesAreOfArrivals) {
  TimingFigures figures;
  EXPECT_EQ(figures.staleness_quantile(0.5), 0);
  figures.staleness = {1, 0, 8, 1};
  figures.arrivals = 10;
  EXPECT_EQ(figures.staleness_quantile(0.1), 0);
  EXPECT_EQ(figures.staleness_quantile(0.11), 2);
  EXPECT_EQ(figures.staleness_quantile(0.9), 2);
  EXPECT_EQ(figures.staleness_quantile(1), 3);
  EXPECT_DOUBLE_EQ(figures.staleness_mean(), 1.9);
}

}  // namespace
}  // namespace rubato
