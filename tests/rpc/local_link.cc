#include "tests/rpc/local_link.h"

#include <thread>

namespace rubato {
namespace {

class LocalStream final : public ControlStream {
 public:
  explicit LocalStream(std::unique_ptr<Session> session) : session_(std::move(session)) {}

  bool send(const v1::FromWorker& message) override {
    if (session_->box().closed()) return false;
    const Status status = session_->receive(message);
    if (!status.ok()) session_->box().close();
    return status.ok();
  }
  std::optional<v1::ToWorker> next() override {
    if (!welcomed_) {
      welcomed_ = true;
      return session_->welcome();
    }
    return session_->box().take();
  }
  Status finish() override { return absl::UnavailableError("the session ended"); }
  void cancel() override { session_->box().close(); }

 private:
  std::unique_ptr<Session> session_;
  bool welcomed_ = false;
};

class LocalLink final : public CoordinatorLink {
 public:
  LocalLink(Reception& reception, WorkerId worker, std::chrono::milliseconds push_delay,
            std::function<void(v1::Hello&)> edit_hello)
      : reception_(reception),
        worker_(worker),
        push_delay_(push_delay),
        edit_hello_(std::move(edit_hello)) {}

  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest& request) override {
    return reception_.describe(request);
  }
  StatusOr<std::unique_ptr<ControlStream>> attend(const v1::Hello& hello) override {
    v1::Hello said = hello;
    if (edit_hello_) edit_hello_(said);
    RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<Session> session, reception_.attend(worker_, said));
    return std::make_unique<LocalStream>(std::move(session));
  }
  Status fetch(const v1::FetchRequest& request,
               const std::function<Status(const Chunk&)>& sink) override {
    RUBATO_ASSIGN_OR_RETURN(Fetch fetch, reception_.fetch(worker_, request));
    Chunk chunk;
    while (fetch.next(chunk)) RUBATO_RETURN_IF_ERROR(sink(chunk));
    return absl::OkStatus();
  }
  StatusOr<v1::PushOffsetReply> push_offset(const v1::PushOffsetRequest& request) override {
    return reception_.push_offset(worker_, request);
  }
  StatusOr<v1::PushReply> push(const v1::DeltaHeader& header,
                               const std::function<bool(Chunk&)>& source) override {
    RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<Push> push, reception_.push(worker_, header));
    Chunk chunk;
    while (!push->answer() && source(chunk)) RUBATO_RETURN_IF_ERROR(push->add(chunk));
    std::this_thread::sleep_for(push_delay_);
    return push->finish();
  }

 private:
  Reception& reception_;
  WorkerId worker_;
  std::chrono::milliseconds push_delay_;
  std::function<void(v1::Hello&)> edit_hello_;
};

}  // namespace

std::unique_ptr<CoordinatorLink> make_local_link(Reception& reception, WorkerId worker,
                                                 std::chrono::milliseconds push_delay,
                                                 std::function<void(v1::Hello&)> edit_hello) {
  return std::make_unique<LocalLink>(reception, worker, push_delay, std::move(edit_hello));
}

}  // namespace rubato
