// A link that outlives its certificate. Before each new session and transfer it looks whether the
// next certificate is due; then it gets that and goes on over new connections. What is under way
// ends where it began.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "rubato/rpc/coordinator_link.h"

namespace rubato {

class RenewingLink final : public CoordinatorLink {
 public:
  /// `is_due` is asked often. `renew` gives a link with the next certificate; after an error that
  /// may pass, the present one goes on being used and `renew` is called again with the next
  /// session or transfer.
  RenewingLink(std::unique_ptr<CoordinatorLink> first, std::function<bool()> is_due,
               std::function<StatusOr<std::unique_ptr<CoordinatorLink>>()> renew)
      : link_(std::move(first)), is_due_(std::move(is_due)), renew_(std::move(renew)) {}

  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest& request) override;
  StatusOr<std::unique_ptr<ControlStream>> attend(const v1::Hello& hello) override;
  Status fetch(const v1::FetchRequest& request,
               const std::function<Status(const Chunk&)>& sink) override;
  StatusOr<v1::PushOffsetReply> push_offset(const v1::PushOffsetRequest& request) override;
  StatusOr<v1::PushReply> push(const v1::DeltaHeader& header,
                               const std::function<bool(Chunk&)>& source) override;

 private:
  std::shared_ptr<CoordinatorLink> present();

  std::mutex mutex_;
  std::shared_ptr<CoordinatorLink> link_;
  std::function<bool()> is_due_;
  std::function<StatusOr<std::unique_ptr<CoordinatorLink>>()> renew_;
};

}  // namespace rubato
