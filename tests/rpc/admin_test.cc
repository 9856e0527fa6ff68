#include "rubato/rpc/admin.h"

#include "tests/rpc/cluster_rig.h"
#include "tests/sim/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace rubato {
namespace {

using ::testing::HasSubstr;

class AdminTest : public testing::Test {
 protected:
  void SetUp() override {
    training_.gate = {"free", {}};
    training_.coordinator.budget_steps = training_.coordinator.schedule_steps = 1'000'000;
    ClusterConfig config = cluster_config(training_, *workload_, directory_);
    config.start_workers = 1;
    rig_ = std::make_unique<ClusterRig>(training_, *workload_, config, files_);
    ASSERT_TRUE(rig_->open().ok());
    auto server = listen_admin(directory_, rig_->cluster());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
    rig_->start();
    rig_->add_worker(0, kNanosPerSecond / 100);
    while (rig_->cluster().tasks_in_flight().empty())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  void TearDown() override {
    server_.reset();
    rig_.reset();
  }
  StatusOr<v1::StatusReply> ask(AdminAction action, int64_t worker = 0) {
    return ask_admin(files_, directory_, {action, WorkerId(worker)});
  }

  SimulationConfig training_ = toy_config();
  std::unique_ptr<QuadraticWorkload> workload_ = quadratic_workload();
  PosixFileSystem files_;
  const std::string directory_ = fresh_directory("admin");
  std::unique_ptr<ClusterRig> rig_;
  std::unique_ptr<AdminServer> server_;
};

TEST_F(AdminTest, EveryQuestionIsAnsweredWithTheStateBehindIt) {
  StatusOr<v1::StatusReply> reply = ask(AdminAction::kStatus);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->workers(0).state(), v1::WorkerStatus::STATE_TRAINING);
  reply = ask(AdminAction::kPause);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->paused());
  reply = ask(AdminAction::kResume);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_FALSE(reply->paused());
  EXPECT_TRUE(absl::IsNotFound(ask(AdminAction::kEvict, 9).status()));
  reply = ask(AdminAction::kEvict, 0);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->workers(0).state(), v1::WorkerStatus::STATE_LOST);
  reply = ask(AdminAction::kDrain);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->draining());
  const auto end = rig_->wait();
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(*end, Cluster::End::kStopped);
}

TEST_F(AdminTest, TheSocketIsItsOwnersAlone) {
  struct stat file = {};
  ASSERT_EQ(stat(control_socket_path(directory_).c_str(), &file), 0);
  EXPECT_TRUE(S_ISSOCK(file.st_mode));
  EXPECT_EQ(file.st_mode & 0777, 0600);
  // The umask is as it was.
  const mode_t mask = umask(022);
  umask(mask);
  EXPECT_NE(mask, mode_t{0177});
}

TEST_F(AdminTest, WithoutACoordinatorItSaysSo) {
  server_.reset();
  const Status gone = ask(AdminAction::kStatus).status();
  EXPECT_TRUE(absl::IsUnavailable(gone)) << gone;
  EXPECT_THAT(std::string(gone.message()), HasSubstr("got no running coordinator"));
  EXPECT_TRUE(absl::IsNotFound(ask_admin(files_, directory_ + "-none", {}).status()));
}

// A process that is stopped, or in a long snapshot, still has its socket.
TEST_F(AdminTest, OneThatDoesNotAnswerHasNotEnded) {
  server_.reset();
  const std::string path = control_socket_path(directory_);
  unlink(path.c_str());
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int silent = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(silent, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(silent, 8), 0);
  const Status status = ask(AdminAction::kStatus).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("got no answer within 10 s"));
  close(silent);
}

TEST_F(AdminTest, ASocketThatACrashLeftIsReplaced) {
  const std::string path = control_socket_path(directory_), kept = path + ".kept";
  // A crash leaves the file without anybody behind it.
  ASSERT_EQ(rename(path.c_str(), kept.c_str()), 0);
  server_.reset();
  ASSERT_EQ(rename(kept.c_str(), path.c_str()), 0);
  EXPECT_TRUE(absl::IsUnavailable(ask(AdminAction::kStatus).status()));
  auto again = listen_admin(directory_, rig_->cluster());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(ask(AdminAction::kStatus).ok());
}

TEST_F(AdminTest, APathThatIsTooLongIsRefusedWithItsLength) {
  const std::string deep = directory_ + "/" + std::string(120, 'd');
  const Status status = listen_admin(deep, rig_->cluster()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("want at most 107 for a socket"));
}

}  // namespace
}  // namespace rubato
