// Who may be shown a dashboard: this machine, unless somebody says otherwise plainly.
#include "rubato/app/served_dashboard.h"

#include <sstream>

#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class ServedDashboardTest : public ::testing::Test {
 protected:
  StatusOr<ServedDashboard> serve(const std::string& listen, bool is_public) {
    return serve_dashboard(files_, {temporary_.path(), "", true}, listen, is_public, out_);
  }
  TemporaryDirectory temporary_;
  PosixFileSystem files_;
  std::ostringstream out_;
};

TEST_F(ServedDashboardTest, APortIsThisMachinesOwn) {
  const auto served = serve("0", false);
  ASSERT_TRUE(served.ok()) << served.status();
  EXPECT_THAT(out_.str(), StartsWith("dashboard: http://127.0.0.1:"));
}

TEST_F(ServedDashboardTest, OtherMachinesAreLetInOnlyWhenThatIsSaid) {
  for (const char* listen : {"0.0.0.0:0", "[::]:0", "192.0.2.1:80", "my.machine:80"}) {
    const auto served = serve(listen, false);
    EXPECT_TRUE(absl::IsInvalidArgument(served.status())) << listen;
    EXPECT_THAT(std::string(served.status().message()), HasSubstr("--public")) << listen;
  }
  EXPECT_TRUE(serve("0.0.0.0:0", true).ok());
}

TEST_F(ServedDashboardTest, NothingIsServedWithoutAWish) {
  const auto served = serve("", false);
  ASSERT_TRUE(served.ok());
  EXPECT_EQ(served->server, nullptr);
  EXPECT_EQ(out_.str(), "");
}

}  // namespace
}  // namespace rubato
