#include "rubato/rpc/renewing_link.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

// A link that counts, and says over which of them something went.
struct Traffic {
  int links = 0, alive = 0;
  std::vector<int> used;
};

class CountingStream final : public ControlStream {
 public:
  explicit CountingStream(const Traffic& traffic) : traffic_(traffic) {}
  bool send(const v1::FromWorker&) override { return traffic_.alive > 0; }
  std::optional<v1::ToWorker> next() override { return std::nullopt; }
  Status finish() override { return absl::OkStatus(); }
  void cancel() override {}

 private:
  const Traffic& traffic_;
};

class CountingLink final : public CoordinatorLink {
 public:
  explicit CountingLink(Traffic& traffic) : traffic_(traffic), number_(traffic.links++) {
    ++traffic_.alive;
  }
  ~CountingLink() override { --traffic_.alive; }
  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest&) override {
    traffic_.used.push_back(number_);
    return v1::RunDescription();
  }
  StatusOr<std::unique_ptr<ControlStream>> attend(const v1::Hello&) override {
    traffic_.used.push_back(number_);
    return std::make_unique<CountingStream>(traffic_);
  }
  Status fetch(const v1::FetchRequest&, const std::function<Status(const Chunk&)>&) override {
    traffic_.used.push_back(number_);
    return absl::OkStatus();
  }
  StatusOr<v1::PushOffsetReply> push_offset(const v1::PushOffsetRequest&) override {
    traffic_.used.push_back(number_);
    return v1::PushOffsetReply();
  }
  StatusOr<v1::PushReply> push(const v1::DeltaHeader&,
                               const std::function<bool(Chunk&)>&) override {
    traffic_.used.push_back(number_);
    return v1::PushReply();
  }

 private:
  Traffic& traffic_;
  int number_;
};

class RenewingLinkTest : public testing::Test {
 protected:
  Traffic traffic_;
  bool due_ = false;
  Status refused_;
  RenewingLink link_{std::make_unique<CountingLink>(traffic_), [this] { return due_; },
                     [this]() -> StatusOr<std::unique_ptr<CoordinatorLink>> {
                       if (!refused_.ok()) return refused_;
                       due_ = false;
                       return std::make_unique<CountingLink>(traffic_);
                     }};
};

TEST_F(RenewingLinkTest, EveryCallAfterTheMomentGoesOverANewLink) {
  EXPECT_TRUE(link_.describe({}).ok());
  EXPECT_TRUE(link_.fetch({}, nullptr).ok());
  due_ = true;
  EXPECT_TRUE(link_.push_offset({}).ok());
  EXPECT_TRUE(link_.push({}, nullptr).ok());
  due_ = true;
  EXPECT_TRUE(link_.attend({}).ok());
  EXPECT_EQ(traffic_.used, (std::vector<int>{0, 0, 1, 1, 2}));
  EXPECT_EQ(traffic_.alive, 1) << "links that nothing uses any more are closed";
}

TEST_F(RenewingLinkTest, ASessionKeepsTheLinkItBeganOn) {
  auto session = link_.attend({});
  ASSERT_TRUE(session.ok());
  due_ = true;
  EXPECT_TRUE(link_.fetch({}, nullptr).ok());
  EXPECT_EQ(traffic_.alive, 2);
  EXPECT_TRUE((*session)->send({}));
  session->reset();
  EXPECT_EQ(traffic_.alive, 1);
}

TEST_F(RenewingLinkTest, WithoutANewOneTheOldOneGoesOn) {
  due_ = true;
  refused_ = absl::UnavailableError("not now");
  EXPECT_TRUE(link_.fetch({}, nullptr).ok());
  refused_ = absl::OkStatus();
  EXPECT_TRUE(link_.fetch({}, nullptr).ok());
  EXPECT_EQ(traffic_.used, (std::vector<int>{0, 1}));
}

}  // namespace
}  // namespace rubato
