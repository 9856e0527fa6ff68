// A replay reads a run's journal and deltas and nothing else, and says what of them is damaged.
#include "rubato/rpc/replay.h"

#include "tests/rpc/peer_rig.h"
#include "tests/rpc/refusals.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

class ReplayTest : public testing::Test {
 protected:
  // A run of three updates and one refusal.
  ReplayTest() {
    auto peer = rig_.attend(0);
    for (int i = 0; i < 4; ++i) {
      PeerDelta delta = rig_.delta(peer.task, 0.01F * static_cast<float>(i + 1));
      if (i == 2) delta.header.set_tokens(99);
      RUBATO_CHECK(rig_.push(0, delta).ok());
      peer.task = PeerRig::next_task(*peer.session);
    }
    RUBATO_CHECK(rig_.stop().ok());
    digest_ = rig_.cluster().state_digest();
  }
  StatusOr<ReplayReport> replay_from(ReplayFrom from) {
    return replay(rig_.files(), rig_.cluster().config(), rig_.workload().layout(), from, nullptr);
  }
  std::string path_of(const std::string& directory) {
    return join_path(directory, rig_.files().list(directory)->front().name);
  }

  PeerRig rig_;
  std::string digest_;
};

TEST_F(ReplayTest, ReachesTheFinalBitsFromEverySnapshot) {
  for (const ReplayFrom from : {ReplayFrom::kOldest, ReplayFrom::kNewest}) {
    const auto report = replay_from(from);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->state_digest, digest_);
    EXPECT_EQ(report->counts.version, 3);
    EXPECT_EQ(report->counts.rejected, 1);
    EXPECT_TRUE(report->ledger.balanced());
  }
  EXPECT_EQ(replay_from(ReplayFrom::kOldest)->first_record, 0);
}

TEST_F(ReplayTest, ShowsEveryRecordWithItsEffects) {
  size_t records = 0, rejects = 0;
  const auto report = replay(rig_.files(), rig_.cluster().config(), rig_.workload().layout(),
                             ReplayFrom::kOldest, [&](const LoggedEvent&, const Effects& effects) {
                               ++records;
                               for (const Effect& effect : effects)
                                 rejects += std::holds_alternative<Reject>(effect);
                             });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(static_cast<int64_t>(records), report->records - report->first_record);
  EXPECT_EQ(rejects, 1u);
}

TEST_F(ReplayTest, ADirectoryWithoutARunIsNone) {
  ClusterConfig config = rig_.cluster().config();
  config.directory = "/nowhere";
  const auto report =
      replay(rig_.files(), config, rig_.workload().layout(), ReplayFrom::kOldest, nullptr);
  EXPECT_FALSE(report.ok());
}

TEST_F(ReplayTest, AMissingDeltaIsMissed) {
  ASSERT_TRUE(rig_.files().remove_file(path_of("/run/kept")).ok());
  EXPECT_TRUE(absl::IsNotFound(replay_from(ReplayFrom::kOldest).status()));
  EXPECT_EQ(replay_from(ReplayFrom::kNewest)->state_digest, digest_) << "it needs none of them";
}

TEST_F(ReplayTest, ADeltaOfAnotherShapeIsRefused) {
  const std::string path = path_of("/run/kept");
  const std::string bytes = *rig_.files().read_file(path);
  ASSERT_TRUE(rig_.files().replace_file(path, bytes.substr(0, bytes.size() - 4)).ok());
  const auto report = replay_from(ReplayFrom::kOldest);
  expect_refusal(report.status(), absl::StatusCode::kDataLoss, "[spool]");
}

TEST_F(ReplayTest, ADecayedDeltaIsRefused) {
  const std::string path = path_of("/run/kept");
  std::string bytes = *rig_.files().read_file(path);
  bytes.back() ^= 1;
  ASSERT_TRUE(rig_.files().replace_file(path, bytes).ok());
  expect_refusal(replay_from(ReplayFrom::kOldest).status(), absl::StatusCode::kDataLoss, "digest");
}

}  // namespace
}  // namespace rubato
