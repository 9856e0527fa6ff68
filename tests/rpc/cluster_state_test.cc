// What of the disk a cluster's state still needs.
#include "rubato/rpc/cluster_state.h"

#include "tests/rpc/cluster_rig.h"
#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

class ClusterStateTest : public testing::Test {
 protected:
  void SetUp() override {
    SimulationConfig training = toy_config();
    training.gate = {"free", {}};
    const ClusterConfig config = cluster_config(training, *workload_, "/run");
    std::vector<float> theta(static_cast<size_t>(workload_->layout().size()));
    auto state = ClusterState::make(config.machine, workload_->layout(), config.shard_sequences,
                                    config.tokens_per_sequence, theta, 1, {}, nullptr);
    ASSERT_TRUE(state.ok()) << state.status();
    state_ = std::move(*state);
  }
  void process(const Event& event) {
    ASSERT_TRUE(state_->process({.now = ++now_, .event = event, .notes = {}}).ok());
  }

  std::unique_ptr<QuadraticWorkload> workload_ = quadratic_workload("sgd", 1);
  std::unique_ptr<ClusterState> state_;
  Nanos now_ = 0;
};

// The door takes a late delta of a lost worker until its data is somebody else's; so no snapshot
// may let the spool drop it before.
TEST_F(ClusterStateTest, NeedsTheDeltaOfALostWorkerUntilItsDataIsAnothers) {
  process(WorkerJoined{WorkerId(0), 1, false});
  process(Start{});
  ASSERT_EQ(state_->needed_deltas(), std::set<TaskId>{TaskId(0)});
  process(WorkerLost{WorkerId(0)});
  EXPECT_FALSE(state_->coordinator().answer_at_once(WorkerId(0), TaskId(0)));
  EXPECT_EQ(state_->needed_deltas(), std::set<TaskId>{TaskId(0)});
  process(WorkerJoined{WorkerId(1), 1, false});
  EXPECT_TRUE(state_->coordinator().answer_at_once(WorkerId(0), TaskId(0)));
  EXPECT_EQ(state_->needed_deltas(), std::set<TaskId>{TaskId(1)});
}

}  // namespace
}  // namespace rubato
