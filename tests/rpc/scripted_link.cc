#include "tests/rpc/scripted_link.h"

#include <iterator>

namespace rubato {

class ScriptedLink::Stream final : public ControlStream {
 public:
  Stream(std::shared_ptr<Shared> shared, std::optional<Status> end)
      : shared_(std::move(shared)), end_(std::move(end)) {}
  bool send(const v1::FromWorker& message) override {
    const std::lock_guard lock(shared_->mutex);
    if (cancelled_) return false;
    shared_->heard.push_back(message);
    shared_->changed.notify_all();
    return true;
  }
  std::optional<v1::ToWorker> next() override {
    std::unique_lock lock(shared_->mutex);
    shared_->changed.wait(lock, [&] { return cancelled_ || end_ || !shared_->open.empty(); });
    if (cancelled_ || shared_->open.empty()) return std::nullopt;
    v1::ToWorker message = std::move(shared_->open.front());
    shared_->open.pop_front();
    return message;
  }
  Status finish() override { return end_.value_or(absl::CancelledError("by the worker")); }
  void cancel() override {
    const std::lock_guard lock(shared_->mutex);
    cancelled_ = true;
    shared_->changed.notify_all();
  }

 private:
  std::shared_ptr<Shared> shared_;
  std::optional<Status> end_;
  bool cancelled_ = false;
};

void ScriptedLink::script(Session session) {
  const std::lock_guard lock(shared_->mutex);
  shared_->script.push_back(std::move(session));
}

void ScriptedLink::script_refusal(Status status) {
  const std::lock_guard lock(shared_->mutex);
  shared_->script.push_back(std::move(status));
}

void ScriptedLink::say(v1::ToWorker message) {
  const std::lock_guard lock(shared_->mutex);
  shared_->open.push_back(std::move(message));
  shared_->changed.notify_all();
}

std::vector<v1::Hello> ScriptedLink::hellos() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->hellos;
}

std::vector<v1::FromWorker> ScriptedLink::heard() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->heard;
}

void ScriptedLink::wait_for_hellos(size_t count) const {
  std::unique_lock lock(shared_->mutex);
  shared_->changed.wait(lock, [&] { return shared_->hellos.size() >= count; });
}

void ScriptedLink::wait_for_messages(size_t count) const {
  std::unique_lock lock(shared_->mutex);
  shared_->changed.wait(lock, [&] { return shared_->heard.size() >= count; });
}

StatusOr<std::unique_ptr<ControlStream>> ScriptedLink::attend(const v1::Hello& hello) {
  const std::lock_guard lock(shared_->mutex);
  shared_->hellos.push_back(hello);
  shared_->changed.notify_all();
  if (shared_->script.empty()) return absl::UnavailableError("[test] nobody is there");
  StatusOr<Session> next = std::move(shared_->script.front());
  shared_->script.pop_front();
  RUBATO_RETURN_IF_ERROR(next.status());
  shared_->open.assign(std::make_move_iterator(next->messages.begin()),
                       std::make_move_iterator(next->messages.end()));
  return std::make_unique<Stream>(shared_, std::move(next->end));
}

v1::Task task_message(int64_t id) {
  v1::Task task;
  task.set_id(id);
  return task;
}

v1::ToWorker welcome_message(const std::vector<int64_t>& tasks) {
  v1::ToWorker message;
  message.mutable_welcome()->set_worker(3);
  for (const int64_t task : tasks) *message.mutable_welcome()->add_tasks() = task_message(task);
  return message;
}

v1::ToWorker dispatch_message(int64_t task) {
  v1::ToWorker message;
  *message.mutable_dispatch()->mutable_task() = task_message(task);
  return message;
}

v1::ToWorker release_message(v1::Release::Why why, const std::string& text) {
  v1::ToWorker message;
  message.mutable_release()->set_why(why);
  message.mutable_release()->set_text(text);
  return message;
}

}  // namespace rubato
