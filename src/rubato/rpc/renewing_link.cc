#include "rubato/rpc/renewing_link.h"

namespace rubato {
namespace {

// Keeps the link that a session began on as long as the session.
class KeepingStream final : public ControlStream {
 public:
  KeepingStream(std::shared_ptr<CoordinatorLink> link, std::unique_ptr<ControlStream> stream)
      : link_(std::move(link)), stream_(std::move(stream)) {}
  bool send(const v1::FromWorker& message) override { return stream_->send(message); }
  std::optional<v1::ToWorker> next() override { return stream_->next(); }
  Status finish() override { return stream_->finish(); }
  void cancel() override { stream_->cancel(); }

 private:
  std::shared_ptr<CoordinatorLink> link_;
  std::unique_ptr<ControlStream> stream_;  // ends before its link
};

}  // namespace

std::shared_ptr<CoordinatorLink> RenewingLink::present() {
  // One renews, the others wait for it: their transfer would have to be repeated otherwise.
  const std::lock_guard lock(mutex_);
  if (!is_due_()) return link_;
  // Where there is no new one yet, the call that follows says what is wrong.
  if (StatusOr<std::unique_ptr<CoordinatorLink>> next = renew_(); next.ok())
    link_ = std::move(*next);
  return link_;
}

StatusOr<v1::RunDescription> RenewingLink::describe(const v1::DescribeRequest& request) {
  return present()->describe(request);
}

StatusOr<std::unique_ptr<ControlStream>> RenewingLink::attend(const v1::Hello& hello) {
  std::shared_ptr<CoordinatorLink> link = present();
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<ControlStream> stream, link->attend(hello));
  return std::make_unique<KeepingStream>(std::move(link), std::move(stream));
}

Status RenewingLink::fetch(const v1::FetchRequest& request,
                           const std::function<Status(const Chunk&)>& sink) {
  return present()->fetch(request, sink);
}

StatusOr<v1::PushOffsetReply> RenewingLink::push_offset(const v1::PushOffsetRequest& request) {
  return present()->push_offset(request);
}

StatusOr<v1::PushReply> RenewingLink::push(const v1::DeltaHeader& header,
                                           const std::function<bool(Chunk&)>& source) {
  return present()->push(header, source);
}

}  // namespace rubato
