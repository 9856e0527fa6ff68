#include "rubato/rpc/roster.h"

#include <algorithm>
#include <limits>

namespace rubato {
namespace {

v1::ToWorker release_message(v1::Release::Why why, const std::string& text) {
  v1::ToWorker message;
  message.mutable_release()->set_why(why);
  message.mutable_release()->set_text(text);
  return message;
}

}  // namespace

std::shared_ptr<Mailbox> Roster::attach(WorkerId worker, Nanos now) {
  const std::lock_guard lock(mutex_);
  Seat& seat = seats_[worker];
  if (seat.box) {
    seat.box->put(release_message(v1::Release::WHY_REPLACED, "the same worker attends again"));
    seat.box->close();
  }
  seat.box = std::make_shared<Mailbox>();
  seat.heard = now;
  return seat.box;
}

void Roster::heard_from(WorkerId worker, Nanos now) {
  const std::lock_guard lock(mutex_);
  Seat& seat = seats_[worker];
  seat.heard = std::max(seat.heard.value_or(now), now);
}

void Roster::detach(WorkerId worker, const Mailbox* box) {
  const std::lock_guard lock(mutex_);
  const auto it = seats_.find(worker);
  if (it == seats_.end() || it->second.box.get() != box) return;
  it->second.box->close();
  it->second.box.reset();
}

void Roster::send(WorkerId worker, const v1::ToWorker& message) {
  const std::lock_guard lock(mutex_);
  const auto it = seats_.find(worker);
  if (it != seats_.end() && it->second.box) it->second.box->put(message);
}

void Roster::send_to_all(const v1::ToWorker& message) {
  const std::lock_guard lock(mutex_);
  for (auto& [worker, seat] : seats_) {
    if (seat.box) seat.box->put(message);
  }
}

void Roster::release(WorkerId worker, v1::Release::Why why, const std::string& text) {
  const std::lock_guard lock(mutex_);
  const auto it = seats_.find(worker);
  if (it == seats_.end()) return;
  if (it->second.box) {
    it->second.box->put(release_message(why, text));
    it->second.box->close();
  }
  seats_.erase(it);
}

void Roster::release_all(v1::Release::Why why, const std::string& text) {
  send_to_all(release_message(why, text));
  const std::lock_guard lock(mutex_);
  for (auto& [worker, seat] : seats_) {
    if (seat.box) seat.box->close();
  }
}

std::vector<WorkerId> Roster::take_expired(Nanos now) {
  const std::lock_guard lock(mutex_);
  std::vector<WorkerId> expired;
  for (auto& [worker, seat] : seats_) {
    if (!seat.heard || now - *seat.heard < lease_) continue;
    expired.push_back(worker);
    seat.heard.reset();
    if (seat.box) seat.box->close();
    seat.box.reset();
  }
  return expired;
}

Nanos Roster::next_expiry() const {
  const std::lock_guard lock(mutex_);
  Nanos next = std::numeric_limits<Nanos>::max();
  for (const auto& [worker, seat] : seats_) {
    if (seat.heard) next = std::min(next, *seat.heard + lease_);
  }
  return next;
}

int64_t Roster::attending() const {
  const std::lock_guard lock(mutex_);
  return std::ranges::count_if(seats_,
                               [](const auto& entry) { return entry.second.box != nullptr; });
}

bool Roster::attends(WorkerId worker) const {
  const std::lock_guard lock(mutex_);
  const auto it = seats_.find(worker);
  return it != seats_.end() && it->second.box != nullptr;
}

std::optional<Nanos> Roster::last_heard(WorkerId worker) const {
  const std::lock_guard lock(mutex_);
  const auto it = seats_.find(worker);
  return it == seats_.end() ? std::nullopt : it->second.heard;
}

}  // namespace rubato
