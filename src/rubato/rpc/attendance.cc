#include "rubato/rpc/attendance.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "rubato/base/one_line.h"

namespace rubato {
namespace {

// How often a wait looks at the flags of others.
constexpr auto kGlance = std::chrono::milliseconds(50);
constexpr Nanos kBulkGlance = kNanosPerSecond / 50;

bool stop_asked(const WorkerEnvironment& environment) {
  return environment.stop != nullptr && environment.stop->load();
}

Notice not_answered(const Status& why) {
  return {.level = Notice::Level::kWarning,
          .event = "cut",
          .text = cat("the coordinator does not answer: ", why.message(), "; trying on"),
          .facts = {}};
}

}  // namespace

bool is_worth_another_try(const Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kInternal:  // a connection that was cut in the middle of a message
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:  // a chunk that was damaged on its way
    case absl::StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

Status until_answered(const WorkerEnvironment& environment,
                      const std::function<Status()>& attempt) {
  Backoff backoff;
  const Nanos began = environment.clock();
  for (bool noted = false;; noted = true) {
    const Status status = attempt();
    // Too little memory is an answer, and stays one.
    if (!is_worth_another_try(status) || absl::IsResourceExhausted(status)) return status;
    Nanos now = environment.clock();
    if (now - began > environment.patience) return status;
    if (!noted) environment.note(not_answered(status));
    for (const Nanos until = now + backoff.next(); now < until; now = environment.clock()) {
      if (stop_asked(environment)) return status;
      std::this_thread::sleep_for(kGlance);
    }
  }
}

Nanos Backoff::next() {
  const Nanos pause = pause_;
  pause_ = std::min<Nanos>(pause_ * 2, 8 * kNanosPerSecond);
  return pause;
}

Attendance::Attendance(CoordinatorLink& link, v1::Hello hello, Nanos heartbeat_interval,
                       const WorkerEnvironment& environment)
    : link_(link),
      hello_(std::move(hello)),
      heartbeat_interval_(heartbeat_interval),
      environment_(environment),
      has_state_(hello_.has_state()) {
  reader_ = std::thread([this] { attend_until_ended(); });
  heart_ = std::thread([this] { beat(); });
}

Attendance::~Attendance() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (stream_) stream_->cancel();
    changed_.notify_all();
  }
  reader_.join();
  heart_.join();
}

// ---- the session

void Attendance::attend_until_ended() {
  Backoff backoff;
  Nanos last_heard = environment_.clock();
  bool noted = false;
  while (!ended()) {
    StatusOr<std::shared_ptr<ControlStream>> stream = open_stream();
    Status why = stream.status();
    if (stream.ok()) {
      while (const std::optional<v1::ToWorker> message = (*stream)->next()) {
        last_heard = environment_.clock();
        backoff.reset();
        noted = false;
        take(*message);
      }
      why = (*stream)->finish();
      const std::lock_guard lock(mutex_);
      stream_.reset();
    }
    if (!why.ok() && !is_worth_another_try(why)) return finish_with(why);
    if (!why.ok() && environment_.clock() - last_heard > environment_.patience)
      return finish_with(annotate(why, "no word from the coordinator"));
    std::unique_lock lock(mutex_);
    if (ended_ || stopping_) return;
    if (!why.ok() && !noted) {
      environment_.note(not_answered(why));
      noted = true;
    }
    changed_.wait_for(lock, std::chrono::nanoseconds(backoff.next()),
                      [&] { return ended_ || stopping_; });
    if (stopping_) return;
  }
}

StatusOr<std::shared_ptr<ControlStream>> Attendance::open_stream() {
  v1::Hello hello = hello_;
  hello.set_has_state(has_state_);
  hello.set_tells_round_trip(environment_.pacer != nullptr);
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [task, hold] : held_) hello.add_held_tasks(task);
  }
  RUBATO_ASSIGN_OR_RETURN(std::shared_ptr<ControlStream> stream, link_.attend(hello));
  const std::lock_guard lock(mutex_);
  stream_ = stream;
  if (stopping_) stream->cancel();
  return stream;
}

void Attendance::take(const v1::ToWorker& message) {
  switch (message.message_case()) {
    case v1::ToWorker::kWelcome:
      return welcome(message.welcome());
    case v1::ToWorker::kDispatch: {
      const std::lock_guard lock(mutex_);
      return enqueue(message.dispatch().task());
    }
    case v1::ToWorker::kHeartbeatAck:
      return answered(message.heartbeat_ack());
    case v1::ToWorker::kRelease:
      return release(message.release());
    case v1::ToWorker::MESSAGE_NOT_SET:
      return;  // of a newer protocol: nothing this build could miss
  }
}

void Attendance::answered(const v1::HeartbeatAck& message) {
  const Nanos now = environment_.clock(), sent = message.sent_ns();
  if (sent < 0 || sent > now) return;  // our own clock comes back; anything else is not from us
  round_trip_ = now - sent;
  if (environment_.pacer) environment_.pacer->measured(round_trip_);
  const std::lock_guard lock(mutex_);
  untold_round_trip_ = round_trip_;
  round_trip_ended_ = now;
}

void Attendance::welcome(const v1::Welcome& message) {
  const std::lock_guard lock(mutex_);
  welcome_ = message;
  const auto is_listed = [&](int64_t task) {
    return std::ranges::any_of(message.tasks(), [&](const v1::Task& t) { return t.id() == task; });
  };
  std::erase_if(queue_, [&](const v1::Task& task) { return !is_listed(task.id()); });
  std::erase_if(held_, [&](const auto& entry) {
    return entry.second == Hold::kQueued && !is_listed(entry.first);
  });
  for (auto& [task, hold] : held_) {
    if (!is_listed(task)) hold = Hold::kUnwanted;
  }
  for (const v1::Task& task : message.tasks()) enqueue(task);
  changed_.notify_all();
}

void Attendance::enqueue(const v1::Task& task) {
  if (!held_.emplace(task.id(), Hold::kQueued).second) return;
  queue_.push_back(task);
  changed_.notify_all();
}

void Attendance::release(const v1::Release& message) {
  switch (message.why()) {
    case v1::Release::WHY_STOPPING:
      environment_.note(
          {.event = "cut",
           .text = cat("the coordinator goes down for a while: ", one_line(message.text())),
           .facts = {}});
      return;
    case v1::Release::WHY_FINISHED:
      return finish_with(absl::OkStatus());
    case v1::Release::WHY_REPLACED:
      return finish_with(absl::AbortedError(
          "[worker] got a second worker of the same identity, want one; enrol each with a join "
          "string of its own"));
    default:
      return finish_with(absl::AbortedError(
          cat("[worker] released by the coordinator: ", one_line(message.text()))));
  }
}

void Attendance::finish_with(Status status) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  ended_ = true;
  end_ = std::move(status);
  changed_.notify_all();
}

void Attendance::beat() {
  std::unique_lock lock(mutex_);
  while (!stopping_ && !ended_) {
    // Bulk may begin to travel at any time.
    for (Nanos waited = 0, step = 0; waited < beat_interval() && !stopping_ && !ended_;
         waited += step) {
      step = std::min(beat_interval() - waited, kBulkGlance);
      changed_.wait_for(lock, std::chrono::nanoseconds(step), [&] { return stopping_ || ended_; });
    }
    const std::shared_ptr<ControlStream> stream = stream_;
    if (!stream || stopping_ || ended_) continue;
    v1::FromWorker message;
    v1::Heartbeat& heartbeat = *message.mutable_heartbeat();
    heartbeat.set_sent_ns(environment_.clock());
    heartbeat.set_task(task_);
    heartbeat.set_steps_done(steps_done_);
    heartbeat.set_round_trip_ns(std::exchange(untold_round_trip_, 0));
    heartbeat.set_round_trip_age_ns(environment_.clock() - round_trip_ended_);
    lock.unlock();
    stream->send(message);  // a broken stream is the reader's business
    lock.lock();
  }
}

Nanos Attendance::beat_interval() const {
  if (!environment_.pacer) return heartbeat_interval_;
  return std::min(environment_.pacer->interval().value_or(heartbeat_interval_),
                  heartbeat_interval_);
}

// ---- the worker's questions

StatusOr<v1::Welcome> Attendance::wait_for_welcome() {
  std::unique_lock lock(mutex_);
  while (!welcome_ && !ended_ && !stop_asked(environment_)) changed_.wait_for(lock, kGlance);
  if (welcome_) return *welcome_;
  if (!end_.ok()) return end_;
  return absl::CancelledError("[worker] stopped before the coordinator answered");
}

std::optional<v1::Task> Attendance::next_task() {
  std::unique_lock lock(mutex_);
  while (queue_.empty() && !ended_ && !stop_asked(environment_)) changed_.wait_for(lock, kGlance);
  if (ended_ || stop_asked(environment_)) return std::nullopt;
  return take_first();
}

std::optional<v1::Task> Attendance::take_task() {
  const std::lock_guard lock(mutex_);
  if (queue_.empty() || ended_) return std::nullopt;
  return take_first();
}

std::optional<v1::Task> Attendance::take_first() {
  v1::Task task = std::move(queue_.front());
  queue_.pop_front();
  held_[task.id()] = Hold::kTaken;
  return task;
}

void Attendance::send(const v1::FromWorker& message) {
  std::shared_ptr<ControlStream> stream;
  {
    const std::lock_guard lock(mutex_);
    stream = stream_;
  }
  if (stream) stream->send(message);
}

void Attendance::want(int64_t behind) {
  v1::FromWorker message;
  message.mutable_want()->set_behind(behind);
  send(message);
}

bool Attendance::is_wanted(int64_t task) const {
  const std::lock_guard lock(mutex_);
  const auto it = held_.find(task);
  return !ended_ && it != held_.end() && it->second == Hold::kTaken;
}

void Attendance::forget(int64_t task) {
  const std::lock_guard lock(mutex_);
  held_.erase(task);
}

void Attendance::report(int64_t task, int64_t steps_done) {
  task_ = task;
  steps_done_ = steps_done;
}

void Attendance::leave(const std::string& reason) {
  v1::FromWorker message;
  message.mutable_leave()->set_reason(reason);
  // First, so that the coordinator's answer to the goodbye is no news.
  finish_with(absl::OkStatus());
  send(message);
}

Status Attendance::end() const {
  const std::lock_guard lock(mutex_);
  return end_;
}

bool Attendance::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_ || stopping_;
}

}  // namespace rubato
