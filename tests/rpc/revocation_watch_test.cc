#include "rubato/rpc/revocation_watch.h"

#include "tests/rpc/cluster_rig.h"
#include "tests/sim/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

// Revoked by another process while it trains, a worker is out within moments, and only that one.
TEST(RevocationWatch, EndsTheSessionOfWhoeverIsRevoked) {
  SimulationConfig training = toy_config();
  training.gate = {"free", {}};
  training.coordinator.budget_steps = training.coordinator.schedule_steps = 1'000'000;
  const auto workload = quadratic_workload();
  PosixFileSystem files;
  const std::string directory = fresh_directory("revocation");
  ClusterConfig config = cluster_config(training, *workload, directory);
  config.start_workers = 1;
  ClusterRig rig(training, *workload, config, files);
  ASSERT_TRUE(rig.open().ok());
  auto admission = Admission::open(files, directory);
  ASSERT_TRUE(admission.ok()) << admission.status();
  for (int i = 0; i < 2; ++i) {
    const auto invited = (*admission)->invite(1'900'000'000, 3600, "");
    ASSERT_TRUE(invited.ok()) << invited.status();
    const auto worker =
        (*admission)
            ->enrol(invited->secret.reveal(), std::string(64, i == 0 ? 'a' : 'b'), 1'900'000'001);
    ASSERT_TRUE(worker.ok()) << worker.status();
    ASSERT_EQ(worker->value(), i);
  }
  rig.start();
  rig.add_worker(0, kNanosPerSecond);
  rig.add_worker(1, kNanosPerSecond);
  const auto wait_for = [&](const std::function<bool()>& done) {
    for (int i = 0; i < 1000 && !done(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return done();
  };
  ASSERT_TRUE(wait_for([&] { return rig.cluster().tasks_in_flight().size() == 2; }));
  const RevocationWatch watch(**admission, rig.cluster());

  auto elsewhere = Admission::open(files, directory);
  ASSERT_TRUE(elsewhere.ok()) << elsewhere.status();
  ASSERT_TRUE((*elsewhere)->revoke(WorkerId(0)).ok());
  EXPECT_TRUE(wait_for([&] { return !rig.cluster().roster().attends(WorkerId(0)); }));
  EXPECT_TRUE(wait_for([&] { return rig.cluster().tasks_in_flight().size() == 1; }));
  EXPECT_TRUE(rig.cluster().roster().attends(WorkerId(1)));
  EXPECT_TRUE(wait_for([&] { return !rig.notices().of("lost").empty(); }));
  EXPECT_THAT(rig.notices().of("lost"), Contains(HasSubstr("worker 0 is lost: revoked")));
}

}  // namespace
}  // namespace rubato
