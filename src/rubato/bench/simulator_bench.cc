#include "rubato/bench/simulator_bench.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "rubato/base/rng.h"
#include "rubato/bench/timing.h"
#include "rubato/lm/engine.h"
#include "rubato/sim/simulation.h"

namespace rubato {
namespace {

constexpr int kRounds = 3;
constexpr int64_t kShards = 8;
constexpr int64_t kLocalSteps = 20;
constexpr int64_t kLeastBudget = 400;  // [local steps]: what is thrown away at the end stays small

// The model over text that is made up as it is read. Counts the local steps that were made.
class RandomText final : public Workload {
 public:
  RandomText(const EngineShape& shape, std::shared_ptr<const InnerOptimizer> optimizer)
      : shape_(shape), optimizer_(std::move(optimizer)), layout_(model_layout(shape.model)) {}

  const Layout& layout() const override { return layout_; }
  void initialise(uint64_t seed, std::span<float> params) const override {
    initialise_model(shape_.model, layout_, seed, params);
  }
  std::vector<int64_t> shard_sequences() const override {
    return std::vector<int64_t>(kShards, int64_t{1} << 20);
  }
  int64_t tokens_per_sequence() const override { return shape_.sequence_length; }
  const InnerOptimizer& optimizer() const override { return *optimizer_; }
  StatusOr<std::unique_ptr<Trainer>> make_trainer(int64_t max_batch, int threads) const override;
  StatusOr<EvalResult> evaluate(std::span<const float>, int) const override { return EvalResult{}; }

  std::vector<int32_t>& fill(std::span<const SequenceRef> batch,
                             std::vector<int32_t>& tokens) const {
    tokens.clear();
    for (const SequenceRef& sequence : batch) {
      Rng rng(1, RngStream::kSyntheticData,
              static_cast<uint64_t>(sequence.index * kShards + sequence.shard.value()));
      for (int64_t i = 0; i <= shape_.sequence_length; ++i)
        tokens.push_back(
            static_cast<int32_t>(rng.below(static_cast<uint64_t>(shape_.model.vocab))));
    }
    return tokens;
  }
  std::atomic<int64_t>& steps_made() const { return steps_made_; }

 private:
  EngineShape shape_;
  std::shared_ptr<const InnerOptimizer> optimizer_;
  Layout layout_;
  mutable std::atomic<int64_t> steps_made_{0};
};

class RandomTextTrainer final : public Trainer {
 public:
  RandomTextTrainer(const RandomText& text, std::unique_ptr<Engine> engine)
      : text_(text), engine_(std::move(engine)) {}

  StepResult step(std::span<float> params, InnerState& state, std::span<const SequenceRef> batch,
                  double lr, int threads) override {
    ++text_.steps_made();
    return engine_->step(params, state, text_.fill(batch, tokens_), lr, threads);
  }

 private:
  const RandomText& text_;
  std::unique_ptr<Engine> engine_;
  std::vector<int32_t> tokens_;
};

StatusOr<std::unique_ptr<Trainer>> RandomText::make_trainer(int64_t max_batch, int threads) const {
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                          Engine::make({.model = shape_.model,
                                        .sequence_length = shape_.sequence_length,
                                        .max_batch = max_batch,
                                        .threads = threads,
                                        .optimizer = optimizer_}));
  return std::make_unique<RandomTextTrainer>(*this, std::move(engine));
}

// Local steps a second of one trainer with all threads.
class OneTrainer {
 public:
  static StatusOr<OneTrainer> make(const RandomText& text, int64_t batch, int threads) {
    OneTrainer one;
    RUBATO_ASSIGN_OR_RETURN(one.trainer_, text.make_trainer(batch, threads));
    one.params_.resize(static_cast<size_t>(text.layout().size()));
    text.initialise(1, one.params_);
    one.state_ = text.optimizer().make_state(text.layout().size());
    one.batch_.resize(static_cast<size_t>(batch));
    one.threads_ = threads;
    return one;
  }

  double steps_per_s(double seconds) {
    const double begin = now_s();
    int64_t steps = 0;
    for (; now_s() - begin < seconds || steps == 0; ++steps) {
      for (size_t i = 0; i < batch_.size(); ++i) batch_[i] = {ShardId(0), next_++};
      trainer_->step(params_, state_, batch_, 1e-4, threads_);
    }
    return static_cast<double>(steps) / (now_s() - begin);
  }

 private:
  std::unique_ptr<Trainer> trainer_;
  std::vector<float> params_;
  InnerState state_;
  std::vector<SequenceRef> batch_;
  int64_t next_ = 0;
  int threads_ = 1;
};

struct Fleet {
  std::string name;
  std::vector<SimWorker> workers;
};

std::vector<Fleet> fleets() {
  std::vector<SimWorker> equal(2), unequal;
  for (const double seconds : {0.58, 0.75, 1.51, 3.33, 0.62, 0.91, 1.87, 2.64})
    unequal.push_back({.ns_per_step = from_seconds(seconds)});
  return {{"2 equal workers", std::move(equal)}, {"8 unequal workers", std::move(unequal)}};
}

struct FleetSpeed {
  double steps_per_s = 0;
  double unused = 0;
};

StatusOr<FleetSpeed> run_fleet(const RandomText& text, const Fleet& fleet, int64_t batch,
                               int threads, int64_t budget) {
  SimulationConfig config;
  config.coordinator.local_steps = kLocalSteps;
  config.coordinator.budget_steps = config.coordinator.schedule_steps = budget;
  config.chain = {.links = {}, .rule = "delayed_nesterov", .options = {}};
  config.num_workers = static_cast<int64_t>(fleet.workers.size());
  config.worker.learning_rate = {.max = 1e-4, .min = 1e-4, .warmup_steps = 0};
  config.worker.batch_sequences = batch;
  config.fleet = fleet.workers;
  config.threads = threads;
  std::vector<float> theta(static_cast<size_t>(text.layout().size()));
  text.initialise(1, theta);
  MemorySink sink;
  RUBATO_ASSIGN_OR_RETURN(auto simulation,
                          Simulation::make(std::move(config), text, std::move(theta), sink));
  text.steps_made() = 0;
  const double begin = now_s();
  RUBATO_RETURN_IF_ERROR(simulation->run({}).status());
  const double elapsed = now_s() - begin;
  const auto made = static_cast<double>(text.steps_made().load());
  return FleetSpeed{made / elapsed, 1 - static_cast<double>(simulation->counts().steps) / made};
}

}  // namespace

StatusOr<std::vector<SimulatorRow>> bench_simulator(
    const EngineShape& shape, const std::shared_ptr<const InnerOptimizer>& optimizer, int threads,
    double seconds) {
  const RandomText text(shape, optimizer);
  RUBATO_ASSIGN_OR_RETURN(OneTrainer one, OneTrainer::make(text, shape.batch, threads));
  const double step_tokens = static_cast<double>(shape.batch * shape.sequence_length);
  one.steps_per_s(0.2);  // touches what is touched once
  std::vector<SimulatorRow> rows;
  for (const Fleet& fleet : fleets()) {
    SimulatorRow row{.name = fleet.name, .shape = shape.name, .threads = threads};
    std::vector<double> shares;
    for (int round = 0; round < kRounds; ++round) {
      const double before = one.steps_per_s(seconds / 2);
      const auto budget = static_cast<int64_t>(std::llround(seconds * before));
      RUBATO_ASSIGN_OR_RETURN(const FleetSpeed speed, run_fleet(text, fleet, shape.batch, threads,
                                                                std::max(budget, kLeastBudget)));
      const double limit = (before + one.steps_per_s(seconds / 2)) / 2;
      shares.push_back(speed.steps_per_s / limit);
      row.tokens_per_s = std::max(row.tokens_per_s, speed.steps_per_s * step_tokens);
      row.limit_tokens_per_s = std::max(row.limit_tokens_per_s, limit * step_tokens);
      row.unused = std::max(row.unused, speed.unused);
    }
    row.share_of_limit = median(shares);
    row.share_least = std::ranges::min(shares);
    row.share_most = std::ranges::max(shares);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace rubato
