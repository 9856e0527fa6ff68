// Who attends, and since when nobody has heard from whom. A session may end and come again; the
// worker is lost only when its lease runs out. Thread-safe; knows no clock.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "rubato/base/ids.h"
#include "rubato/rpc/mailbox.h"

namespace rubato {

class Roster {
 public:
  explicit Roster(Nanos lease) : lease_(lease) {}

  /// A new session of `worker`; an older one is told that it was replaced, and ends.
  std::shared_ptr<Mailbox> attach(WorkerId worker, Nanos now);
  /// The lease begins anew; also for a worker that does not attend yet (after a restart).
  void heard_from(WorkerId worker, Nanos now);
  /// The session of `box` ended; nothing happens when another one has taken its place.
  void detach(WorkerId worker, const Mailbox* box);
  /// To the worker's session; dropped when it has none: its welcome will tell it the same.
  void send(WorkerId worker, const v1::ToWorker& message);
  void send_to_all(const v1::ToWorker& message);
  /// Tells the worker and ends its session; its lease is over.
  void release(WorkerId worker, v1::Release::Why why, const std::string& text);
  void release_all(v1::Release::Why why, const std::string& text);

  /// Workers whose lease has run out, each told once.
  std::vector<WorkerId> take_expired(Nanos now);
  /// When the next lease runs out if nothing is heard; the largest time when none runs.
  Nanos next_expiry() const;
  int64_t attending() const;
  bool attends(WorkerId worker) const;
  /// [ns of the run] when it was last heard from; nullopt for one that holds no lease.
  std::optional<Nanos> last_heard(WorkerId worker) const;

 private:
  struct Seat {
    std::shared_ptr<Mailbox> box;  // null between two sessions
    std::optional<Nanos> heard;    // absent: no lease
  };
  Nanos lease_;
  mutable std::mutex mutex_;
  std::map<WorkerId, Seat> seats_;
};

}  // namespace rubato
