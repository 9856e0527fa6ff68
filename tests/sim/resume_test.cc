// Bits: threads never change them, and a run that was stopped, saved, restored and continued ends
// on the same ones.
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

#include "rubato/base/digest.h"

namespace rubato {
namespace {

SimulationConfig short_config() {
  SimulationConfig config = toy_config();
  config.coordinator.budget_steps = 1200;
  config.coordinator.schedule_steps = 1200;
  config.policy = {"dylu", {}};
  return config;
}

TEST(Determinism, ThreadsNeverChangeABit) {
  const auto workload = quadratic_workload("adamw");
  SimulationConfig config = short_config();
  std::vector<std::string> digests;
  for (int threads : {1, 2, 3}) {
    config.threads = threads;
    digests.push_back(digest_of(run_to_end(config, *workload).theta));
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_EQ(digests[0], digests[2]);
}

// Stops after `arrivals`, moves everything into a new simulation through a state image, goes on to
// the end.
SimRun interrupted_run(const SimulationConfig& config, const Workload& workload, int arrivals) {
  std::vector<float> theta(static_cast<size_t>(workload.layout().size()));
  workload.initialise(1, theta);
  MemorySink sink;
  auto first = Simulation::make(config, workload, theta, sink);
  EXPECT_TRUE(first.ok());
  std::atomic<bool> stop{false};
  int seen = 0;
  SimulationHooks hooks;
  hooks.stop = &stop;
  hooks.progress = [&](const SimulationProgress&) { stop = ++seen >= arrivals; };
  const auto reason = (*first)->run(hooks);
  EXPECT_TRUE(reason.ok() && *reason == StopReason::kStopped);
  StateImage image;
  StateSaver saver(image);
  (*first)->walk_state(saver);
  theta.assign((*first)->theta().begin(), (*first)->theta().end());
  const int64_t made = (*first)->local_steps_made();
  first->reset();

  auto second = Simulation::make(config, workload, std::vector<float>(theta.size()), sink);
  EXPECT_TRUE(second.ok());
  (*second)->restore_theta(theta);
  StateRestorer restorer(image);
  (*second)->walk_state(restorer);
  EXPECT_EQ((*second)->local_steps_made(), made);  // what this session has not done
  EXPECT_TRUE(restorer.status().ok()) << restorer.status();
  EXPECT_TRUE((*second)->run({}).ok());
  return {std::vector<float>((*second)->theta().begin(), (*second)->theta().end()), sink.log(),
          (*second)->counts()};
}

TEST(Resume, StepsOfTasksInFlightAreMadeThoughNotProcessed) {
  const auto workload = quadratic_workload("adamw");
  std::vector<float> theta(static_cast<size_t>(workload->layout().size()));
  workload->initialise(1, theta);
  MemorySink sink;
  auto sim = Simulation::make(short_config(), *workload, theta, sink);
  ASSERT_TRUE(sim.ok()) << sim.status();
  std::atomic<bool> stop{false};
  SimulationHooks hooks;
  hooks.stop = &stop;
  hooks.progress = [&](const SimulationProgress&) {
    stop = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the executors work ahead
  };
  ASSERT_TRUE((*sim)->run(hooks).ok());
  EXPECT_GT((*sim)->local_steps(), 0);
  EXPECT_GT((*sim)->local_steps_made(), (*sim)->local_steps());
}

TEST(Resume, AStoppedRunEndsOnTheBitsOfAnUninterruptedOne) {
  const auto workload = quadratic_workload("adamw");
  for (const char* gate : {"grace", "free", "barrier"}) {
    SimulationConfig config = short_config();
    config.gate = {gate, {}};
    config.threads = 2;
    const std::string whole = digest_of(run_to_end(config, *workload).theta);
    for (int arrivals : {1, 2, 7, 20}) {
      EXPECT_EQ(digest_of(interrupted_run(config, *workload, arrivals).theta), whole)
          << gate << " after " << arrivals;
    }
  }
}

// With two tasks of one worker in flight, transfers under way and wishes to come.
TEST(Resume, OverlapGoesOnWhereItWas) {
  const auto workload = quadratic_workload("adamw");
  for (const char* gate : {"grace", "free"}) {
    for (const Overlap overlap : kOverlaps) {
      SimulationConfig config = linked_config(overlap);
      config.gate = {gate, {}};
      config.threads = 2;
      config.fleet[0].leave_at = from_seconds(100);
      config.fleet[0].return_at = from_seconds(130);
      const SimRun whole = run_to_end(config, *workload);
      for (int arrivals = 1; arrivals < 24; arrivals += 2) {
        const SimRun run = interrupted_run(config, *workload, arrivals);
        EXPECT_EQ(digest_of(run.theta), digest_of(whole.theta)) << gate << " after " << arrivals;
        EXPECT_EQ(lines_of(run.log), lines_of(whole.log)) << gate << " after " << arrivals;
      }
    }
  }
}

// Residuals of every worker, and encodings that wait for the rest of their group.
TEST(Resume, WhatCodecsLeaveOverGoesOnWhereItWas) {
  const auto workload = quadratic_workload("adamw");
  for (const char* gate : {"grace", "free", "barrier"}) {
    SimulationConfig config = short_config();
    config.gate = {gate, {}};
    config.threads = 2;
    config.up_codec = {"top_k", {{"share", 0.1}}};
    config.down_codec = {"bf16", {}};
    const SimRun whole = run_to_end(config, *workload);
    for (int arrivals : {1, 2, 3, 7, 20}) {
      const SimRun run = interrupted_run(config, *workload, arrivals);
      EXPECT_EQ(digest_of(run.theta), digest_of(whole.theta)) << gate << " after " << arrivals;
      EXPECT_EQ(lines_of(run.log), lines_of(whole.log)) << gate << " after " << arrivals;
    }
  }
}

// A Save effect comes among others of one step: what the hook saves must be a state to go on from.
TEST(Resume, EverySaveOfARunIsAStateToGoOnFrom) {
  const auto workload = quadratic_workload("adamw");
  for (const auto& [gate, overlap] : {std::pair{"grace", Overlap::kNone},
                                      {"free", Overlap::kNone},
                                      {"barrier", Overlap::kNone},
                                      {"grace", Overlap::kUpload},
                                      {"free", Overlap::kFull}}) {
    SimulationConfig config = overlap == Overlap::kNone ? short_config() : linked_config(overlap);
    config.gate = {gate, {}};
    config.threads = 2;
    config.coordinator.save_every_steps = 300;
    std::vector<float> theta(static_cast<size_t>(workload->layout().size()));
    workload->initialise(1, theta);
    MemorySink sink;
    auto first = Simulation::make(config, *workload, theta, sink);
    ASSERT_TRUE(first.ok()) << first.status();
    std::vector<std::pair<StateImage, std::vector<float>>> saves;
    SimulationHooks hooks;
    hooks.save = [&]() -> Status {
      StateSaver saver(saves.emplace_back().first);
      (*first)->walk_state(saver);
      saves.back().second.assign((*first)->theta().begin(), (*first)->theta().end());
      return absl::OkStatus();
    };
    ASSERT_TRUE((*first)->run(hooks).ok());
    EXPECT_GE(saves.size(), 3u) << gate;
    for (const auto& [image, saved] : saves) {
      auto second = Simulation::make(config, *workload, theta, sink);
      ASSERT_TRUE(second.ok()) << second.status();
      (*second)->restore_theta(saved);
      StateRestorer restorer(image);
      (*second)->walk_state(restorer);
      ASSERT_TRUE(restorer.status().ok()) << restorer.status();
      ASSERT_TRUE((*second)->run({}).ok());
      EXPECT_EQ(digest_of((*second)->theta()), digest_of((*first)->theta())) << gate;
    }
  }
}

TEST(Divergence, EndsTheRunAndLeavesThetaAsItWas) {
  const auto workload = quadratic_workload("sgd");
  for (const auto& [local_steps, what] :
       {std::pair{int64_t{20}, "got a loss of worker"}, {int64_t{1}, "got parameters of worker"}}) {
    SimulationConfig config = short_config();
    config.policy = {"fixed", {}};
    config.coordinator.local_steps = local_steps;
    config.worker.learning_rate = {.max = 1e39, .min = 1e39, .warmup_steps = 0};
    std::vector<float> theta(static_cast<size_t>(workload->layout().size()));
    workload->initialise(1, theta);
    MemorySink sink;
    auto sim = Simulation::make(config, *workload, theta, sink);
    ASSERT_TRUE(sim.ok()) << sim.status();
    const auto reason = (*sim)->run({});
    EXPECT_TRUE(is_divergence(reason.status())) << reason.status();
    EXPECT_NE(reason.status().message().find(what), std::string::npos) << reason.status();
    EXPECT_EQ(std::vector<float>((*sim)->theta().begin(), (*sim)->theta().end()), theta);
  }
}

TEST(Fleet, TasksLongerThanTheClockCanAddUpAreRefused) {
  const auto workload = quadratic_workload("sgd");
  SimulationConfig config = short_config();
  config.fleet[1].ns_per_step = from_seconds(1e6);
  config.coordinator.local_steps = 1'000'000;
  MemorySink sink;
  std::vector<float> theta(static_cast<size_t>(workload->layout().size()));
  const auto sim = Simulation::make(config, *workload, theta, sink);
  EXPECT_TRUE(absl::IsInvalidArgument(sim.status())) << sim.status();
}

TEST(Fleet, AWorkerThatLeavesAndReturnsLosesNothingOfTheData) {
  SimulationConfig config = short_config();
  config.fleet[0].leave_at = from_seconds(25);
  config.fleet[0].return_at = from_seconds(60);
  config.fleet[2].join_at = from_seconds(10);
  config.worker.inner_rewarm_steps = 10;
  const auto workload = quadratic_workload("adamw");
  const SimRun run = run_to_end(config, *workload);
  EXPECT_EQ(run.counts.lost, 1);
  EXPECT_GE(run.counts.steps, 1200);
  const SimRun again = run_to_end(config, *workload);
  EXPECT_EQ(digest_of(run.theta), digest_of(again.theta));
}

}  // namespace
}  // namespace rubato
