#include "rubato/metrics/run_statistics.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include "tests/metrics/synthetic_runs.h"
#include "tests/store/temporary_directory.h"
#include <gtest/gtest.h>

#include "rubato/metrics/run_data.h"
#include "rubato/metrics/sink.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

UpdateRecord update(int64_t worker, int64_t steps, int64_t staleness, const char* verdict) {
  UpdateRecord record;
  record.worker = WorkerId(worker);
  record.steps = steps;
  record.tokens = steps * 10;
  record.train_loss_nats = static_cast<double>(steps);
  record.staleness = staleness;
  record.verdict = verdict;
  return record;
}

TEST(RunStatistics, CountsStalenessAndParticipation) {
  RunStatistics statistics;
  statistics.add(update(0, 5, 0, "applied"));
  statistics.add(update(2, 3, 4, "held"));
  statistics.add(update(0, 5, 2, "discarded"));
  statistics.add(update(1, 100, 90, "rejected:not finite"));
  EXPECT_EQ(statistics.arrivals(), 4);
  EXPECT_EQ(statistics.discarded(), 1);
  EXPECT_EQ(statistics.rejected(), 1);
  EXPECT_DOUBLE_EQ(statistics.staleness_mean(), 2);  // a rejected one does not count
  EXPECT_EQ(statistics.staleness_max(), 4);
  EXPECT_EQ(statistics.staleness_counts(), (std::vector<int64_t>{1, 0, 1, 0, 1}));
  const auto workers = statistics.per_worker();
  ASSERT_EQ(workers.size(), 3u);
  EXPECT_EQ(workers[0].updates, 2);
  EXPECT_EQ(workers[0].steps, 10);
  EXPECT_EQ(workers[0].tokens, 100);
  EXPECT_EQ(workers[1].updates, 0);
  EXPECT_EQ(workers[2].steps, 3);
}

TEST(RunStatistics, AnArrivalOfSeveralWorkersIsSharedAmongThem) {
  RunStatistics statistics;
  UpdateRecord record = update(0, 4, 0, "applied");
  record.workers = 3;
  record.tokens = 100;
  statistics.add(record);
  EXPECT_EQ(statistics.arrivals(), 1);
  const auto workers = statistics.per_worker();
  ASSERT_EQ(workers.size(), 3u);
  int64_t tokens = 0;
  for (const WorkerTotals& worker : workers) {
    EXPECT_EQ(worker.updates, 1);
    EXPECT_EQ(worker.steps, 4);
    tokens += worker.tokens;
  }
  EXPECT_EQ(tokens, 100);
  EXPECT_EQ(workers[0].tokens, 34);
}

// A run of an opaque model is never evaluated.
TEST(RunStatistics, WithoutAnEvaluationTheUpdatesTellHowFarARunCame) {
  RecordLog log;
  log.updates = {update(0, 5, 0, "applied"), update(1, 3, 4, "discarded"),
                 update(1, 100, 90, "rejected:not finite")};
  log.updates[0].version = Version(1);
  log.updates[1].version = log.updates[2].version = Version(2);
  log.updates[2].virtual_time_ns = 7 * kNanosPerSecond;
  const RunSummary summary = summarise(log);
  EXPECT_EQ(summary.local_steps, 8);
  EXPECT_EQ(summary.tokens, 80);
  EXPECT_EQ(summary.server_updates, 2);
  EXPECT_EQ(summary.virtual_time_s, 7);
  EXPECT_TRUE(std::isnan(summary.val_loss_nats));
  log.evals.emplace_back();
  log.evals.back().local_steps = 5;
  EXPECT_EQ(summarise(log).local_steps, 5);
}

TEST(RunStatistics, UtilisationIsTrainingOverTrainingAndWaiting) {
  RunStatistics statistics;
  EXPECT_EQ(statistics.utilisation(), 0);
  const auto span = [&](int64_t worker, Nanos begin_s, Nanos end_s, SpanKind kind) {
    statistics.add(TaskSpan{
        WorkerId(worker), {}, {}, begin_s * kNanosPerSecond, end_s * kNanosPerSecond, kind});
  };
  span(0, 0, 2, SpanKind::kTrain);
  span(0, 2, 10, SpanKind::kWait);
  span(1, 0, 10, SpanKind::kTrain);
  span(1, 10, 99, SpanKind::kLost);
  EXPECT_DOUBLE_EQ(statistics.utilisation(), 12.0 / 20);
  EXPECT_DOUBLE_EQ(statistics.per_worker()[0].wait_share(), 0.8);
  EXPECT_DOUBLE_EQ(statistics.per_worker()[1].wait_share(), 0);
}

TEST(RunStatistics, SumsOfDamagedRecordsStayAtTheEndOfTheirRange) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  RunStatistics statistics;
  UpdateRecord damaged = update(0, 1, 0, "applied");
  damaged.steps = damaged.tokens = kMost;
  for (int i = 0; i < 2; ++i) {
    statistics.add(damaged);
    statistics.add(TaskSpan{WorkerId(0), {}, {}, -kMost - 1, kMost, SpanKind::kTrain});
  }
  const WorkerTotals worker = statistics.per_worker()[0];
  EXPECT_EQ(worker.steps, kMost);
  EXPECT_EQ(worker.tokens, kMost);
  EXPECT_EQ(worker.train_s, to_seconds(kMost));
  EXPECT_EQ(statistics.utilisation(), 1);
}

TEST(RunStatistics, FinalTrainLossIsOfTheLastTenthWeightedByTokens) {
  RunStatistics statistics;
  EXPECT_TRUE(std::isnan(statistics.final_train_loss_nats()));
  for (int i = 0; i < 18; ++i) statistics.add(update(0, 100, 0, "applied"));
  statistics.add(update(0, 1, 0, "applied"));
  statistics.add(update(0, 3, 0, "applied"));
  EXPECT_DOUBLE_EQ(statistics.final_train_loss_nats(), (1.0 * 10 + 3.0 * 30) / 40);
}

TEST(RunStatistics, SynchronousFleetOfTheToyIsBusyForHalfItsTime) {
  const RunSummary sync = synthetic_runs(5)[2].summary;
  EXPECT_NEAR(sync.utilisation, (0.58 + 0.75 + 1.51 + 3.33) / (4 * 3.33), 1e-9);
  EXPECT_EQ(sync.staleness_max, 0);
  EXPECT_EQ(sync.per_worker.size(), 4u);
}

TEST(TimeToLoss, IsTheFirstEvaluationOfTheTrainingPhaseAtOrBelow) {
  std::vector<EvalRecord> evals(4);
  const double losses[] = {1.0, 3.5, 3.0, 2.0};
  for (size_t i = 0; i < evals.size(); ++i) {
    evals[i].phase = i == 0 ? RunPhase::kPretrain : RunPhase::kTrain;
    evals[i].loss_nats = losses[i];
    evals[i].virtual_time_ns = static_cast<Nanos>(i) * kNanosPerSecond;
  }
  EXPECT_EQ(time_to_loss(evals, 3.0), 2.0);
  EXPECT_EQ(time_to_loss(evals, 1.5), std::nullopt);
  evals[2].loss_nats = std::nan("");
  EXPECT_EQ(time_to_loss(evals, 3.0), 3.0);
}

class RunDirectory : public testing::Test {
 protected:
  void record(const RecordLog& log) {
    auto sink = JsonlSink::open(files_, path_);
    ASSERT_TRUE(sink.ok());
    for (const auto& r : log.updates) sink->on_update(r);
    for (const auto& r : log.spans) sink->on_span(r);
    for (const auto& r : log.evals) sink->on_eval(r);
    ASSERT_TRUE(sink->flush().ok());
  }
  PosixFileSystem files_;
  TemporaryDirectory temporary_;
  const std::string path_ = temporary_.path();
};

TEST_F(RunDirectory, FinishedRunLoadsAsItWasWritten) {
  const RunData run = synthetic_runs(5)[4];
  record(run.log);
  ASSERT_TRUE(write_summary(files_, path_, run.summary).ok());
  ASSERT_TRUE(files_.replace_file(path_ + "/recipe.toml", run.recipe).ok());
  const auto loaded = load_run(files_, path_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(to_line(loaded->summary), to_line(run.summary));
  EXPECT_EQ(loaded->recipe, run.recipe);
  EXPECT_EQ(loaded->log.evals.size(), run.log.evals.size());
  EXPECT_EQ(loaded->log.updates.size(), run.log.updates.size());
  ASSERT_EQ(loaded->log.spans.size(), run.log.spans.size());
  EXPECT_EQ(to_line(loaded->log.spans.back()), to_line(run.log.spans.back()));
}

TEST_F(RunDirectory, RunningRunIsSummarisedFromItsRecords) {
  const RunData run = synthetic_runs(5)[4];
  record(run.log);
  auto torn = files_.open_append(metrics_path(path_));
  ASSERT_TRUE(torn.ok());
  ASSERT_TRUE((*torn)->append("{\"kind\":\"ev").ok());
  const auto loaded = load_run(files_, path_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_FALSE(loaded->summary.finished);
  EXPECT_EQ(loaded->summary.method, "dn-dylu");
  EXPECT_EQ(loaded->summary.workers, 4);
  EXPECT_EQ(loaded->summary.val_loss_nats, run.log.evals.back().loss_nats);
  EXPECT_DOUBLE_EQ(loaded->summary.staleness_mean, run.summary.staleness_mean);
}

TEST_F(RunDirectory, DirectoryOfSomethingElseIsNotFound) {
  EXPECT_EQ(load_run(files_, path_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(RunDirectory, CorruptLineIsNamedWithFileAndNumber) {
  ASSERT_TRUE(files_.replace_file(metrics_path(path_), "{}\n{}\n").ok());
  EXPECT_EQ(load_run(files_, path_).status().message(),
            "[" + metrics_path(path_) + "] line 1: no key \"kind\", want words");
}

}  // namespace
}  // namespace rubato
