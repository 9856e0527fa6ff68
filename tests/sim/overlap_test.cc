// Links and overlap: hours worked out by hand, what trains on what, losses, and that nothing
// changes where nothing takes time to travel.
#include <algorithm>
#include <set>

#include "tests/sim/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/digest.h"
#include "rubato/metrics/run_statistics.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kBytes = 4 * 48;  // of the quadratic's parameters

// One worker of a second a step, H = 10, no gate: 1 s down, 2 s up, a quarter of latency.
SimulationConfig lone_worker(Overlap overlap, int64_t tasks) {
  SimulationConfig config = toy_config();
  config.fleet = equal_fleet(1);
  config.fleet[0].link = {
      .down_bytes_per_s = kBytes, .up_bytes_per_s = kBytes / 2, .latency = from_seconds(0.25)};
  config.num_workers = 1;
  config.gate = {"free", {}};
  config.chain = {.links = {}, .rule = "sgd", .options = {{"sgd", {{"lr", 1.0}}}}};
  config.coordinator.local_steps = 10;
  config.coordinator.budget_steps = config.coordinator.schedule_steps = 10 * tasks;
  config.coordinator.overlap = overlap;
  return config;
}

// [begin, end] in seconds of one kind of span, in the order they were recorded.
std::vector<std::pair<double, double>> spans_of(const SimRun& run, SpanKind kind) {
  std::vector<std::pair<double, double>> spans;
  for (const TaskSpan& span : run.log.spans) {
    if (span.kind == kind) spans.emplace_back(to_seconds(span.begin_ns), to_seconds(span.end_ns));
  }
  return spans;
}

std::vector<std::pair<double, int64_t>> arrivals_of(const SimRun& run) {
  std::vector<std::pair<double, int64_t>> arrivals;
  for (const UpdateRecord& update : run.log.updates)
    arrivals.emplace_back(to_seconds(update.virtual_time_ns), update.staleness);
  return arrivals;
}

template <class... T>
auto pairs(T... values) {
  return ElementsAre(values...);
}
using Span = std::pair<double, double>;
using Arrival = std::pair<double, int64_t>;

TEST(Overlap, NoneWaitsWhileAnythingTravels) {
  const auto workload = quadratic_workload();
  const SimRun run = run_to_end(lone_worker(Overlap::kNone, 3), *workload);
  EXPECT_THAT(arrivals_of(run), pairs(Arrival{13.5, 0}, Arrival{27, 0}, Arrival{40.5, 0}));
  EXPECT_THAT(spans_of(run, SpanKind::kReceive),
              pairs(Span{0, 1.25}, Span{13.5, 14.75}, Span{27, 28.25}));
  EXPECT_THAT(spans_of(run, SpanKind::kTrain),
              pairs(Span{1.25, 11.25}, Span{14.75, 24.75}, Span{28.25, 38.25}));
  EXPECT_THAT(spans_of(run, SpanKind::kSend),
              pairs(Span{11.25, 13.5}, Span{24.75, 27}, Span{38.25, 40.5}));
  EXPECT_THAT(spans_of(run, SpanKind::kWait),
              pairs(Span{0, 1.25}, Span{11.25, 14.75}, Span{24.75, 28.25}));
}

TEST(Overlap, UploadTrainsOnWhileItsDeltaTravels) {
  const auto workload = quadratic_workload();
  const SimRun run = run_to_end(lone_worker(Overlap::kUpload, 3), *workload);
  // The wish at 11.25 takes the latency, and parameters are 1.25 s on their way.
  EXPECT_THAT(arrivals_of(run), pairs(Arrival{13.5, 0}, Arrival{25, 1}, Arrival{36.5, 1}));
  EXPECT_THAT(spans_of(run, SpanKind::kReceive),
              pairs(Span{0, 1.25}, Span{11.5, 12.75}, Span{23, 24.25}));
  EXPECT_THAT(spans_of(run, SpanKind::kTrain),
              pairs(Span{1.25, 11.25}, Span{12.75, 22.75}, Span{24.25, 34.25}));
  EXPECT_THAT(spans_of(run, SpanKind::kSend),
              pairs(Span{11.25, 13.5}, Span{22.75, 25}, Span{34.25, 36.5}));
  EXPECT_THAT(spans_of(run, SpanKind::kWait),
              pairs(Span{0, 1.25}, Span{11.25, 12.75}, Span{22.75, 24.25}));
}

TEST(Overlap, FullNeverStopsTraining) {
  const auto workload = quadratic_workload();
  const SimRun run = run_to_end(lone_worker(Overlap::kFull, 3), *workload);
  EXPECT_THAT(arrivals_of(run), pairs(Arrival{13.5, 0}, Arrival{23.5, 1}, Arrival{33.5, 1}));
  EXPECT_THAT(spans_of(run, SpanKind::kReceive),
              pairs(Span{0, 1.25}, Span{10, 11.25}, Span{20, 21.25}));
  EXPECT_THAT(spans_of(run, SpanKind::kTrain),
              pairs(Span{1.25, 11.25}, Span{11.25, 21.25}, Span{21.25, 31.25}));
  EXPECT_THAT(spans_of(run, SpanKind::kWait), pairs(Span{0, 1.25}));
}

// 24 s up, 10 s of training: two tasks in flight are the most, and the link decides.
TEST(Overlap, ASlowLinkHoldsTheWorkerBack) {
  const auto workload = quadratic_workload();
  SimulationConfig config = lone_worker(Overlap::kUpload, 4);
  config.fleet[0].link = {.up_bytes_per_s = 8};
  const SimRun run = run_to_end(config, *workload);
  EXPECT_THAT(arrivals_of(run),
              pairs(Arrival{34, 0}, Arrival{58, 1}, Arrival{82, 1}, Arrival{106, 1}));
  EXPECT_THAT(spans_of(run, SpanKind::kTrain),
              pairs(Span{0, 10}, Span{10, 20}, Span{34, 44}, Span{58, 68}));
  EXPECT_THAT(spans_of(run, SpanKind::kSend),
              pairs(Span{10, 34}, Span{34, 58}, Span{58, 82}, Span{82, 106}));
  EXPECT_THAT(spans_of(run, SpanKind::kWait), pairs(Span{20, 34}, Span{44, 58}));
}

TEST(Overlap, UpdatesSayWhatTravelled) {
  const auto workload = quadratic_workload();
  const SimRun run = run_to_end(lone_worker(Overlap::kUpload, 3), *workload);
  for (const UpdateRecord& update : run.log.updates) {
    EXPECT_EQ(update.bytes_down, kBytes);
    EXPECT_EQ(update.bytes_up, kBytes);
  }
}

// What is trained on what, written out: the second task starts from the first version as well, each
// later one from the one before last; the inner optimizer goes through all of them.
TEST(Overlap, TasksStartFromTheVersionOfTheirDispatchAndGoOnWithTheInnerState) {
  constexpr int64_t kTasks = 6;
  for (const bool reset : {false, true}) {
    const auto workload = quadratic_workload("adamw", 1);
    SimulationConfig config = lone_worker(Overlap::kUpload, kTasks);
    config.worker.reset_inner = reset;
    config.threads = 2;
    const SimRun run = run_to_end(config, *workload);

    const DataMap data(workload->shard_sequences(), false, config.coordinator.seed);
    const auto trainer = workload->make_trainer(1, 1).value();
    std::vector<std::vector<float>> versions(
        1, std::vector<float>(static_cast<size_t>(workload->layout().size())));
    workload->initialise(1, versions[0]);
    InnerState inner = workload->optimizer().make_state(workload->layout().size());
    for (int64_t task = 0; task < kTasks; ++task) {
      const std::vector<float> base = versions[static_cast<size_t>(std::max<int64_t>(task - 1, 0))];
      std::vector<float> params = base;
      if (reset) inner = workload->optimizer().make_state(workload->layout().size());
      for (int64_t step = 0; step < 10; ++step) {
        const SequenceRef batch[] = {data.locate(ShardId(0), 0, task * 10 + step)};
        trainer->step(params, inner, batch, config.worker.learning_rate.max, 1);
      }
      std::vector<float> next = versions.back();
      for (size_t i = 0; i < next.size(); ++i) next[i] -= base[i] - params[i];
      versions.push_back(std::move(next));
    }
    EXPECT_LT(relative_distance(run.theta, versions.back()), 1e-6) << (reset ? "reset" : "keep");
  }
}

// Where nothing takes time to travel a worker's wish comes with its delta: all modes are one.
TEST(Overlap, WithoutLinksNothingOverlaps) {
  const auto workload = quadratic_workload("adamw");
  for (const char* gate : {"grace", "free"}) {
    SimulationConfig config = linked_config(Overlap::kNone);
    config.gate = {gate, {}};
    config.fleet = toy_fleet();
    const SimRun none = run_to_end(config, *workload);
    for (const Overlap overlap : {Overlap::kUpload, Overlap::kFull}) {
      config.coordinator.overlap = overlap;
      const SimRun run = run_to_end(config, *workload);
      EXPECT_EQ(digest_of(run.theta), digest_of(none.theta)) << gate;
      EXPECT_EQ(lines_of(run.log), lines_of(none.log)) << gate;
    }
  }
}

// What overlap is for: the same number of steps in less time, for more staleness.
TEST(Overlap, BuysTimeForStaleness) {
  const auto workload = quadratic_workload();
  std::vector<Nanos> times;
  std::vector<double> staleness, training;
  for (const Overlap overlap : kOverlaps) {
    const SimRun run = run_to_end(linked_config(overlap), *workload);
    RunStatistics statistics;
    for (const UpdateRecord& update : run.log.updates) statistics.add(update);
    for (const TaskSpan& span : run.log.spans) statistics.add(span);
    times.push_back(run.log.updates.back().virtual_time_ns);
    staleness.push_back(statistics.staleness_mean());
    training.push_back(statistics.utilisation());
  }
  EXPECT_GT(times[0], times[1]);
  EXPECT_GT(times[1], times[2]);
  EXPECT_LT(staleness[0], staleness[1]);
  EXPECT_LT(training[0], training[1]);
  EXPECT_LT(training[1], training[2]);
}

// Training and waiting divide a worker's time without a gap or an overlap, whatever travels.
TEST(Overlap, AWorkersTimeIsTrainingOrWaiting) {
  const auto workload = quadratic_workload();
  for (const Overlap overlap : kOverlaps) {
    const SimRun run = run_to_end(linked_config(overlap), *workload);
    for (int64_t worker = 0; worker < 4; ++worker) {
      std::vector<std::pair<Nanos, Nanos>> work;
      Nanos sent = 0;
      for (const TaskSpan& span : run.log.spans) {
        if (span.worker != WorkerId(worker)) continue;
        if (span.kind == SpanKind::kTrain || span.kind == SpanKind::kWait)
          work.emplace_back(span.begin_ns, span.end_ns);
        if (span.kind != SpanKind::kSend) continue;
        EXPECT_GE(span.begin_ns, sent) << "two deltas of worker " << worker << " at once";
        sent = span.end_ns - (worker == 0 ? from_seconds(0.1) : from_seconds(0.5));
      }
      std::ranges::sort(work);
      ASSERT_FALSE(work.empty());
      EXPECT_EQ(work.front().first, 0);
      // Waits of tasks that had not arrived when the run ended are recorded only if they were over.
      for (size_t i = 1; i < work.size(); ++i)
        EXPECT_EQ(work[i].first, work[i - 1].second) << "worker " << worker;
    }
  }
}

TEST(Overlap, ThreadsNeverChangeABit) {
  const auto workload = quadratic_workload("adamw");
  for (const Overlap overlap : kOverlaps) {
    SimulationConfig config = linked_config(overlap);
    std::set<std::string> digests, logs;
    for (int threads : {1, 2, 3}) {
      config.threads = threads;
      const SimRun run = run_to_end(config, *workload);
      digests.insert(digest_of(run.theta));
      logs.insert(lines_of(run.log));
    }
    EXPECT_EQ(digests.size(), 1u);
    EXPECT_EQ(logs.size(), 1u);
  }
}

// Lost at 12 s: the first delta is on its way since 11.25, the second task trains or is received.
TEST(Overlap, AWorkerThatIsLostWhileItSendsLosesBothTasks) {
  const auto workload = quadratic_workload("adamw");
  for (const Overlap overlap : {Overlap::kUpload, Overlap::kFull}) {
    SimulationConfig config = lone_worker(overlap, 4);
    config.fleet[0].leave_at = from_seconds(12);
    config.fleet[0].return_at = from_seconds(20);
    const SimRun run = run_to_end(config, *workload);
    EXPECT_EQ(run.counts.lost, 1);
    EXPECT_EQ(run.counts.rejected, 0);
    EXPECT_EQ(run.counts.steps, 40) << "no delta of the lost tasks counts";
    const double dispatched = overlap == Overlap::kUpload ? 11.5 : 10;
    EXPECT_THAT(spans_of(run, SpanKind::kLost), pairs(Span{0, 12}, Span{dispatched, 12}));
    // What it waited: for its first parameters, under `upload` for its second ones, and again.
    auto waits = spans_of(run, SpanKind::kWait);
    ASSERT_GE(waits.size(), 2u);
    EXPECT_EQ(waits[0], (Span{0, 1.25}));
    if (overlap == Overlap::kUpload) {
      EXPECT_EQ(waits[1], (Span{11.25, 12}));
    }
    EXPECT_EQ(waits[overlap == Overlap::kUpload ? 2 : 1], (Span{20, 21.25}));
    // It comes back with nothing and begins with the data it had given back.
    ASSERT_FALSE(run.log.updates.empty());
    EXPECT_EQ(run.log.updates[0].task, TaskId(2));
    EXPECT_EQ(run.log.updates[0].virtual_time_ns, from_seconds(33.5));
  }
}

// In k x batch gradients and parameters travel in every step: the slowest of all decides.
TEST(Overlap, KBatchExchangesInEveryStep) {
  const auto workload = quadratic_workload();
  SimulationConfig config = lone_worker(Overlap::kNone, 2);
  config.merged_data = true;
  config.fleet = {{.ns_per_step = from_seconds(2)}};
  config.stands_for = {{.ns_per_step = from_seconds(2)},
                       {.ns_per_step = from_seconds(1),
                        .link = {.down_bytes_per_s = kBytes,
                                 .up_bytes_per_s = kBytes / 2,
                                 .latency = from_seconds(0.25)}}};
  const SimRun run = run_to_end(config, *workload);
  ASSERT_EQ(run.log.updates.size(), 2u);
  EXPECT_EQ(run.log.updates[0].virtual_time_ns, from_seconds(10 * 4.5));  // 1 + 2 + 1 + 2*0.25
  EXPECT_EQ(run.log.updates[0].bytes_up, 10 * 2 * kBytes);
  EXPECT_THAT(spans_of(run, SpanKind::kTrain),
              pairs(Span{0, 20}, Span{0, 10}, Span{45, 65}, Span{45, 55}));
}

TEST(Overlap, RefusesLinksThatCannotBe) {
  const auto workload = quadratic_workload();
  const auto error_of = [&](const Link& link) {
    SimulationConfig config = lone_worker(Overlap::kNone, 1);
    config.fleet[0].link = link;
    MemorySink sink;
    std::vector<float> theta(static_cast<size_t>(workload->layout().size()));
    const auto sim = Simulation::make(config, *workload, theta, sink);
    EXPECT_TRUE(absl::IsInvalidArgument(sim.status())) << sim.status();
    return std::string(sim.status().message());
  };
  EXPECT_EQ(error_of({.down_bytes_per_s = 0}), "[fleet] got 0 bytes/s, want at least 1");
  EXPECT_EQ(error_of({.up_bytes_per_s = -5}), "[fleet] got -5 bytes/s, want at least 1");
  EXPECT_THAT(error_of({.latency = -1}), HasSubstr("s of latency, want at least 0 s"));
}

}  // namespace
}  // namespace rubato
