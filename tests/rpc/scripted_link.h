// A coordinator of a test's making, as a worker's parts see it: sessions and answers come as they
// were scripted, and what the worker says is kept.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "rubato/rpc/coordinator_link.h"

namespace rubato {

class ScriptedLink final : public CoordinatorLink {
 public:
  /// One session: its messages, and how it ends after them. Absent: it lasts until the worker ends
  /// it.
  struct Session {
    std::vector<v1::ToWorker> messages;
    std::optional<Status> end;
  };
  /// Of the next hello; without one hellos are answered Unavailable.
  void script(Session session);
  void script_refusal(Status status);
  /// To the session that is open.
  void say(v1::ToWorker message);

  std::vector<v1::Hello> hellos() const;
  std::vector<v1::FromWorker> heard() const;
  /// Blocks until so many hellos, or other messages, have come.
  void wait_for_hellos(size_t count) const;
  void wait_for_messages(size_t count) const;

  // Exchange, by functions of the test.
  std::function<Status(const v1::FetchRequest&, const std::function<Status(const Chunk&)>&)>
      on_fetch;
  std::function<StatusOr<v1::PushOffsetReply>(const v1::PushOffsetRequest&)> on_push_offset;
  std::function<StatusOr<v1::PushReply>(const v1::DeltaHeader&, const std::function<bool(Chunk&)>&)>
      on_push;

  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest&) override {
    return absl::UnimplementedError("[test] describe");
  }
  StatusOr<std::unique_ptr<ControlStream>> attend(const v1::Hello& hello) override;
  Status fetch(const v1::FetchRequest& request,
               const std::function<Status(const Chunk&)>& sink) override {
    return on_fetch(request, sink);
  }
  StatusOr<v1::PushOffsetReply> push_offset(const v1::PushOffsetRequest& request) override {
    return on_push_offset(request);
  }
  StatusOr<v1::PushReply> push(const v1::DeltaHeader& header,
                               const std::function<bool(Chunk&)>& source) override {
    return on_push(header, source);
  }

 private:
  class Stream;
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<StatusOr<Session>> script;
    std::vector<v1::Hello> hellos;
    std::vector<v1::FromWorker> heard;
    std::deque<v1::ToWorker> open;  // of the session that is open
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

/// Messages of a coordinator.
v1::Task task_message(int64_t id);
v1::ToWorker welcome_message(const std::vector<int64_t>& tasks = {});
v1::ToWorker dispatch_message(int64_t task);
v1::ToWorker release_message(v1::Release::Why why, const std::string& text = "a word");

}  // namespace rubato
