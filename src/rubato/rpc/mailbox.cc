#include "rubato/rpc/mailbox.h"

#include <utility>

namespace rubato {

void Mailbox::put(v1::ToWorker message) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  messages_.push_back(std::move(message));
  if (messages_.size() > kMostMessages) {
    messages_.clear();
    closed_ = true;
  }
  changed_.notify_all();
}

std::optional<v1::ToWorker> Mailbox::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || !messages_.empty(); });
  if (messages_.empty()) return std::nullopt;
  v1::ToWorker message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

void Mailbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

bool Mailbox::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

}  // namespace rubato
