// What a coordinator makes of a run whose files are not what was written: it says which, and the
// way back, and never goes on from them.
#include "tests/rpc/copied_run.h"
#include "tests/rpc/peer_rig.h"
#include "tests/rpc/refusals.h"
#include <gtest/gtest.h>

#include "rubato/store/checkpoint.h"
#include "rubato/store/file_names.h"
#include "rubato/store/journal_segment.h"

namespace rubato {
namespace {

constexpr char kRun[] = "/run";

// A run that was killed behind its third update, with the snapshot it began with.
class ClusterRecoveryTest : public testing::Test {
 protected:
  ClusterRecoveryTest() {
    auto peer = rig_.attend(0);
    for (int i = 0; i < 3; ++i) {
      RUBATO_CHECK(rig_.push(0, rig_.delta(peer.task, 0.01F)).ok());
      tasks_.emplace_back(peer.task.id());
      peer.task = PeerRig::next_task(*peer.session);
    }
    RUBATO_CHECK(rig_.stop().ok());
    copy_tree(rig_.files(), kRun, files_);
    RUBATO_CHECK(delete_checkpoint(files_, kRun, rig_.cluster().counts().steps).ok());
  }
  StatusOr<std::unique_ptr<Cluster>> open() {
    ClusterServices services;
    services.files = &files_;
    services.clock = [] { return Nanos{0}; };
    services.sink = &sink_;
    services.note = [](const Notice&) {};
    return Cluster::open(
        rig_.cluster().config(), services, rig_.workload().layout(),
        []() -> StatusOr<std::vector<float>> { return absl::InternalError("a new run"); });
  }

  PeerRig rig_;
  std::vector<TaskId> tasks_;
  MemoryFileSystem files_;
  MemorySink sink_;
};

TEST_F(ClusterRecoveryTest, UndamagedItIsWhereItWas) {
  const auto cluster = open();
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ((*cluster)->state_digest(), rig_.cluster().state_digest());
}

TEST_F(ClusterRecoveryTest, NothingDecayedMovesTheParameters) {
  const std::string delta = kept_delta_path(kRun, tasks_[1]);
  files_.corrupt(delta, *files_.file_size(delta) - 1, 1);
  expect_refusal(open().status(), absl::StatusCode::kDataLoss,
                 cat(delta, ": got a damaged file: got a payload with digest"));
}

TEST_F(ClusterRecoveryTest, ADamagedFileNamesTheWayBack) {
  const int64_t first = journal_segments(files_, kRun)->front();
  const std::string segment = journal_segment_path(kRun, first);
  files_.corrupt(segment, 20, 1);
  expect_refusal(open().status(), absl::StatusCode::kDataLoss,
                 cat("; rubato rollback ", kRun, " --to 0 goes back to a snapshot"));
}

TEST_F(ClusterRecoveryTest, ALostIdentityIsNotMadeAnew) {
  const std::string identity = join_path(kRun, "cluster.json");
  const std::string written = *files_.read_file(identity);
  ASSERT_TRUE(files_.remove_file(identity).ok());
  expect_refusal(open().status(), absl::StatusCode::kDataLoss, "a journal and no cluster.json");
  EXPECT_FALSE(files_.exists(identity));
  ASSERT_TRUE(files_.replace_file(identity, written).ok());
  EXPECT_TRUE(open().ok());
}

}  // namespace
}  // namespace rubato
