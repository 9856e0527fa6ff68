// Bulk transfers over a link that fails.
#include "rubato/rpc/courier.h"

#include "tests/rpc/cluster_rig.h"
#include <gtest/gtest.h>

#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

// A coordinator that went away for good.
class DeadLink final : public CoordinatorLink {
 public:
  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest&) override { return gone(); }
  StatusOr<std::unique_ptr<ControlStream>> attend(const v1::Hello&) override { return gone(); }
  Status fetch(const v1::FetchRequest&, const std::function<Status(const v1::Chunk&)>&) override {
    return gone();
  }
  StatusOr<v1::PushOffsetReply> push_offset(const v1::PushOffsetRequest&) override {
    return gone();
  }
  StatusOr<v1::PushReply> push(const v1::DeltaHeader&,
                               const std::function<bool(v1::Chunk&)>&) override {
    return gone();
  }
  int calls = 0;

 private:
  Status gone() {
    ++calls;
    return absl::UnavailableError("gone");
  }
};

TEST(Courier, TriesOnlyAsLongAsItIsWanted) {
  DeadLink link;
  WorkerEnvironment environment;
  environment.clock = test_clock;
  Courier courier(link, environment);
  v1::Codec name;
  name.set_name("fp32");
  const auto codec = codec_from_proto(name).value();
  const auto is_wanted = [&] { return link.calls < 2; };
  const auto params = courier.fetch_parameters(0, 64, *codec, name, is_wanted);
  EXPECT_TRUE(absl::IsAborted(params.status())) << params.status();
  EXPECT_EQ(link.calls, 2);
  const std::vector<std::byte> delta(256);
  const auto verdict = courier.push({}, delta, *codec, [] { return false; });
  EXPECT_TRUE(absl::IsAborted(verdict.status())) << verdict.status();
  EXPECT_EQ(link.calls, 3);
}

}  // namespace
}  // namespace rubato
