#include "tests/metrics/synthetic_runs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "rubato/base/rng.h"
#include "rubato/metrics/run_statistics.h"

namespace rubato {
namespace {

constexpr std::array<Nanos, 4> kStepNs = {580'000'000, 750'000'000, 1'510'000'000, 3'330'000'000};
constexpr int64_t kLocalSteps = 10;
constexpr int64_t kTokensPerStep = 2048;

class Recorder {
 public:
  Recorder(std::string method, double floor_nats, int64_t budget_steps)
      : floor_nats_(floor_nats), budget_steps_(budget_steps), rng_(7, RngStream::kTest) {
    run_.summary.method = std::move(method);
  }

  bool done() const { return steps_ >= budget_steps_; }
  double loss() {
    const double share = static_cast<double>(steps_) / static_cast<double>(budget_steps_);
    return floor_nats_ + 1.1 * std::exp(-4 * share) + 0.012 * (rng_.uniform() - 0.5);
  }
  void eval(Nanos at) {
    EvalRecord record;
    record.method = run_.summary.method;
    record.local_steps = steps_;
    record.tokens = steps_ * kTokensPerStep;
    record.server_updates = version_;
    record.version = Version(version_);
    record.virtual_time_ns = at;
    record.wall_time_ns = at / 4;
    record.loss_nats = loss();
    record.bits_per_byte = record.loss_nats * 0.48;
    record.accuracy = 0.3;
    run_.log.evals.push_back(record);
    next_eval_ += budget_steps_ / 30;
  }
  void arrival(size_t worker, int64_t steps, Nanos begin, Nanos end, int64_t base, bool moves) {
    steps_ += steps;
    if (moves) ++version_;
    const ShardId shard(static_cast<int64_t>(worker));
    run_.log.spans.push_back({WorkerId(static_cast<int64_t>(worker)), TaskId(task_), shard, begin,
                              end, SpanKind::kTrain});
    UpdateRecord update;
    update.virtual_time_ns = end;
    update.worker = WorkerId(static_cast<int64_t>(worker));
    update.task = TaskId(task_++);
    update.shard = shard;
    update.steps = steps;
    update.tokens = steps * kTokensPerStep;
    update.train_loss_nats = loss() + 0.03;
    update.lr = 4e-4;
    update.staleness = moves ? version_ - 1 - base : 0;
    update.version = Version(version_);
    update.delta_norm = 0.4;
    update.verdict = "applied";
    run_.log.updates.push_back(update);
    if (steps_ >= next_eval_) eval(end);
  }
  void wait(size_t worker, Nanos begin, Nanos end) {
    if (end <= begin) return;
    run_.log.spans.push_back({WorkerId(static_cast<int64_t>(worker)), TaskId(task_ - 1), ShardId(0),
                              begin, end, SpanKind::kWait});
  }
  void round_over() { ++version_; }
  int64_t version() const { return version_; }
  RunData finish() {
    const std::string method = run_.summary.method;
    run_.summary = summarise(run_.log);
    run_.summary.method = method;
    run_.summary.finished = true;
    run_.summary.workers = 4;
    run_.summary.seed = 1;
    run_.summary.build_id = "0.1.0";
    run_.summary.data_digest = "5d41402abc4b2a76b9719d911017c592";
    run_.summary.recipe_digest = "7d793037a0760186574b0282f2f435e7";
    run_.recipe = "[run]\nname = \"synthetic\" # <no training>\n";
    return std::move(run_);
  }

 private:
  double floor_nats_;
  int64_t budget_steps_;
  Rng rng_;
  RunData run_;
  int64_t steps_ = 0, version_ = 0, task_ = 0, next_eval_ = 0;
};

RunData synchronous(const char* method, double floor_nats, int64_t budget, int64_t steps) {
  Recorder recorder(method, floor_nats, budget);
  recorder.eval(0);
  for (Nanos begin = 0; !recorder.done();) {
    const Nanos end = begin + steps * kStepNs.back();
    for (size_t w = 0; w < kStepNs.size(); ++w) {
      recorder.arrival(w, steps, begin, begin + steps * kStepNs[w], 0, false);
    }
    for (size_t w = 0; w < kStepNs.size(); ++w) {
      recorder.wait(w, begin + steps * kStepNs[w], end);
    }
    recorder.round_over();
    begin = end;
  }
  return recorder.finish();
}

RunData asynchronous(const char* method, double floor_nats, int64_t budget, bool dylu) {
  Recorder recorder(method, floor_nats, budget);
  recorder.eval(0);
  struct Task {
    Nanos begin, end;
    int64_t steps, base;
  };
  std::array<Task, 4> tasks;
  const auto dispatch = [&](size_t w, Nanos now) {
    const int64_t steps =
        dylu ? std::max<int64_t>(kLocalSteps * kStepNs[0] / kStepNs[w], 1) : kLocalSteps;
    tasks[w] = {now, now + steps * kStepNs[w], steps, recorder.version()};
  };
  for (size_t w = 0; w < tasks.size(); ++w) dispatch(w, 0);
  while (!recorder.done()) {
    const auto first = std::min_element(tasks.begin(), tasks.end(),
                                        [](const Task& a, const Task& b) { return a.end < b.end; });
    const auto w = static_cast<size_t>(first - tasks.begin());
    recorder.arrival(w, first->steps, first->begin, first->end, first->base, true);
    // A short grace: the arriving worker waits a little for others before it goes on.
    const Nanos pause = dylu ? 300'000'000 : 150'000'000;
    recorder.wait(w, first->end, first->end + pause);
    dispatch(w, first->end + pause);
  }
  return recorder.finish();
}

}  // namespace

std::vector<RunData> synthetic_runs(int64_t rounds) {
  const int64_t budget = rounds * 4 * kLocalSteps;
  std::vector<RunData> runs(1);
  RunSummary& pretrained = runs[0].summary;
  pretrained.method = "pretrained";
  pretrained.seed = 1;
  pretrained.val_loss_nats = 4.22;
  runs.push_back(synchronous("k-batch", 3.12, budget, 1));
  runs.push_back(synchronous("sync-diloco", 3.10, budget, kLocalSteps));
  runs.push_back(asynchronous("async-nesterov", 3.15, budget, false));
  runs.push_back(asynchronous("dn-dylu", 3.097, budget, true));
  const double threshold = runs[2].summary.val_loss_nats + kSyncLossSlackNats;
  for (RunData& run : runs)
    run.summary.time_to_sync_loss_s = time_to_loss(run.log.evals, threshold);
  return runs;
}

}  // namespace rubato
