// What travels in a simulation, and what it costs.
#include "rubato/sim/uplink.h"

#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

#include "rubato/base/digest.h"

namespace rubato {
namespace {

SimulationConfig config_with(const std::string& up, const std::string& down = "fp32") {
  SimulationConfig config = toy_config();
  config.coordinator.budget_steps = config.coordinator.schedule_steps = 1200;
  config.up_codec = {up, {}};
  config.down_codec = {down, {}};
  return config;
}

// A run's task of worker 0 whose delta is `delta`: a trainer takes it off the base at once.
class Minus final : public Trainer {
 public:
  explicit Minus(std::vector<float> delta) : delta_(std::move(delta)) {}
  StepResult step(std::span<float> params, InnerState&, std::span<const SequenceRef>, double,
                  int) override {
    for (size_t i = 0; i < params.size(); ++i) params[i] -= delta_[i];
    return {.loss = 1, .tokens = 1};
  }

 private:
  std::vector<float> delta_;
};

class UplinkTest : public testing::Test {
 protected:
  std::unique_ptr<TaskRun> run_of(const std::vector<float>& delta) {
    Task task;
    task.worker = WorkerId(0);
    task.steps = 1;
    task.lr_total = 1;
    auto run = std::make_unique<TaskRun>(
        task, std::make_shared<const std::vector<float>>(delta.size()), &state_);
    Minus trainer(delta);
    const DataMap data({4}, false, 1);
    WorkerSettings settings;
    settings.batch_sequences = 0;
    EXPECT_FALSE(run->advance(trainer, settings, data, 1));
    run->finish();
    return run;
  }
  static std::vector<float> decoded(const Uplink& uplink, const TaskRun& run,
                                    const SentDelta& sent) {
    std::vector<float> out(run.delta().size()), scratch(out.size());
    const auto source = uplink.values(run, sent);
    const float* block = source->block(0, std::ssize(out), scratch.data());
    out.assign(block, block + out.size());
    return out;
  }
  InnerState state_;
};

TEST_F(UplinkTest, ALosslessCodecCopiesNothing) {
  Uplink uplink(make_codec("fp32").value(), 3, 1);
  const auto run = run_of({3, -4, 0});
  const SentDelta sent = uplink.send(*run, nullptr);
  EXPECT_TRUE(sent.encoded.empty());
  EXPECT_EQ(sent.norm, 5);
  EXPECT_EQ(uplink.values(*run, sent)->block(0, 3, nullptr), run->delta().data());
}

TEST_F(UplinkTest, TheNormIsThatOfWhatArrives) {
  Uplink uplink(make_codec("top_k", {{"share", 0.5}}).value(), 2, 1);
  const auto run = run_of({3, -4});
  const SentDelta sent = uplink.send(*run, nullptr);
  EXPECT_EQ(sent.norm, 4);
  EXPECT_EQ(decoded(uplink, *run, sent), (std::vector<float>{0, -4}));
}

TEST_F(UplinkTest, WhatIsLeftOverComesNextTimeUnlessItIsRefusedOrLost) {
  Uplink uplink(make_codec("top_k", {{"share", 0.5}}).value(), 2, 1);
  const auto first = run_of({3, -4}), second = run_of({2, 0});
  uplink.send(*first, nullptr);
  uplink.settle(WorkerId(0), false);
  EXPECT_EQ(uplink.send(*second, nullptr).norm, 2) << "nothing of the refused one is left";
  uplink.settle(WorkerId(0), true);
  uplink.send(*first, nullptr);
  uplink.settle(WorkerId(0), true);
  EXPECT_EQ(uplink.send(*second, nullptr).norm, 5) << "3 were left over";
  uplink.settle(WorkerId(0), true);
  uplink.send(*first, nullptr);
  uplink.settle(WorkerId(0), true);
  uplink.lose(WorkerId(0));
  EXPECT_EQ(uplink.send(*second, nullptr).norm, 2) << "another process begins with nothing";
}

TEST_F(UplinkTest, AnEncodingOfAnotherSizeIsRefused) {
  const Uplink uplink(make_codec("int8").value(), 2, 1);
  const auto run = run_of({3, -4});
  StateImage image;
  StateSaver saver(image);
  SentDelta sent{.encoded = "x", .norm = 1, .finite = true};
  uplink.walk_sent(saver, *run, true, sent);
  StateRestorer restorer(image);
  uplink.walk_sent(restorer, *run, true, sent);
  EXPECT_TRUE(absl::IsInvalidArgument(restorer.status())) << restorer.status();
}

TEST(Codecs, EveryOneTrainsTheSameBitsTwiceAndRecordsItsBytes) {
  const auto workload = quadratic_workload("adamw");
  const int64_t num_params = workload->layout().size();
  for (const CodecEntry* entry : codec_entries()) {
    for (const std::string_view down : kDownCodecs) {
      SimulationConfig config = config_with(entry->name, std::string(down));
      // Fewer of 48 values, and every one is sent so late that it overshoots.
      if (config.up_codec.name == "top_k") config.up_codec.options = {{"share", 0.5}};
      const SimRun once = run_to_end(config, *workload);
      config.threads = 3;
      EXPECT_EQ(digest_of(run_to_end(config, *workload).theta), digest_of(once.theta));
      const Payload payload = payload_of(*make_codec(entry->name, config.up_codec.options).value(),
                                         *make_codec(down).value(), num_params);
      ASSERT_FALSE(once.log.updates.empty());
      for (const UpdateRecord& update : once.log.updates) {
        EXPECT_EQ(update.bytes_up, payload.up_bytes);
        EXPECT_EQ(update.bytes_down, payload.down_bytes);
      }
      EXPECT_LT(once.log.evals.back().loss_nats, 0.5 * once.log.evals.front().loss_nats)
          << entry->name;
    }
  }
}

TEST(Codecs, FewerBytesTakeLessVirtualTime) {
  const auto workload = quadratic_workload();
  SimulationConfig config = config_with("fp32");
  for (SimWorker& worker : config.fleet) worker.link.up_bytes_per_s = 10;
  const Nanos whole = run_to_end(config, *workload).log.evals.back().virtual_time_ns;
  config.up_codec = {"int8", {}};
  EXPECT_LT(run_to_end(config, *workload).log.evals.back().virtual_time_ns, whole);
}

TEST(Codecs, ParametersDoNotTravelByWhateverTheyLike) {
  const auto workload = quadratic_workload();
  MemorySink sink;
  std::vector<float> theta(static_cast<size_t>(workload->layout().size()));
  const auto sim = Simulation::make(config_with("fp32", "int8"), *workload, theta, sink);
  EXPECT_EQ(sim.status().message(), "[codec] down: got int8, want fp32 or bf16 for parameters");
}

}  // namespace
}  // namespace rubato
