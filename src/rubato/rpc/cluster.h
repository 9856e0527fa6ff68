// A live cluster, whatever carries its messages: sessions, uploads and downloads on any number of
// threads, one thread that drives the state machine.
//
//   upload -> spool (fsync) -> event -> journal (fsync, one for all that wait) -> step -> effects
//
// Nothing becomes visible before its event is durable. Memory: theta, the outer state, one
// published version and bounded buffers, whatever the number of workers.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "rubato/rpc/cluster_config.h"
#include "rubato/rpc/cluster_gauges.h"
#include "rubato/rpc/cluster_state.h"
#include "rubato/rpc/evaluator.h"
#include "rubato/rpc/event_outcome.h"
#include "rubato/rpc/roster.h"
#include "rubato/rpc/timesheet.h"
#include "rubato/store/journal.h"
#include "rubato/store/spool.h"
#include "rubato/v1/admin.pb.h"

namespace rubato {

/// What a worker has said about itself, checked.
struct WorkerHello {
  Nanos ns_per_step = 0;  // <= 0: unknown
  bool has_state = false;
  std::vector<TaskId> held;
};

/// A finished task's facts as the worker states them.
struct DeltaClaim {
  TaskId task;
  int64_t steps_done = 0;
  int64_t tokens = 0;
  Nanos train_ns = 0;
  UpdateNotes notes;
};

class Cluster {
 public:
  /// Opens the run in `config.directory`, making it when there is none: then `initial` gives theta
  /// [P]. Recovers what a crash left: snapshot, then the journal behind it.
  static StatusOr<std::unique_ptr<Cluster>> open(
      ClusterConfig config, const ClusterServices& services, const Layout& layout,
      const std::function<StatusOr<std::vector<float>>()>& initial);
  ~Cluster();

  enum class End { kFinished, kStopped };
  /// Drives the run on the calling thread until its budget is used up or `stop` is raised.
  StatusOr<End> run(const std::atomic<bool>* stop);

  // ---- for operators; any thread

  /// Nobody gets a task any more, or whoever waits does. Durable when it returns.
  /// FailedPrecondition on the virtual clock and behind the run's end.
  Status pause(bool on);
  /// Pauses; when nothing is in flight any more, run() writes a snapshot and ends. pause(false)
  /// calls it off.
  Status drain();
  /// The worker is lost and its session ends with `why`. NotFound when it is not here.
  Status evict(WorkerId worker, const std::string& why);
  v1::StatusReply status() const;

  // ---- for the transport; any thread

  struct Seat {
    std::shared_ptr<Mailbox> box;
    std::vector<Task> tasks;  // still this worker's
  };
  /// A session begins. Its first message is to be a welcome with `tasks`.
  Seat attend(WorkerId worker, const WorkerHello& hello);
  void heard_from(WorkerId worker) { roster_.heard_from(worker, clock()); }
  void leave(WorkerId worker);
  /// One more task behind that one, where communication overlaps with training.
  void want(WorkerId worker, TaskId behind);
  void detach(WorkerId worker, const Mailbox* box) { roster_.detach(worker, box); }

  /// The answer to a delta that needs no upload, or nullopt: send it.
  std::optional<UpdateVerdict> answer_at_once(WorkerId worker, TaskId task) const;
  Spool& spool() { return *spool_; }
  VersionStore& versions() { return *versions_; }
  FileSystem& files() { return *services_.files; }
  /// As long as this lives, a delta of the task is being made safe and judged: from before it is
  /// complete in the spool until its event has happened.
  std::shared_ptr<const void> begin_delivery(TaskId task);
  /// An upload found no room in the spool. When a snapshot would free some, the driver writes one.
  void want_room() { room_wanted_ = true; }
  /// Removes a complete delta of the task that no event was told of, to make room for another one.
  /// The answer to the other one when the task is over; Unavailable while one is being judged.
  StatusOr<std::optional<UpdateVerdict>> remove_untold(WorkerId worker, TaskId task);
  /// Judges a delta that lies in the spool, complete and synced; blocks until it is durable.
  StatusOr<UpdateVerdict> deliver(WorkerId worker, const DeltaClaim& claim, double norm,
                                  bool finite);

  int64_t num_params() const { return num_params_; }
  const Layout& layout() const { return *layout_; }
  const ClusterConfig& config() const { return config_; }
  const RunIdentity& identity() const { return identity_; }
  /// [ns] of the run's clock.
  Nanos clock() const;
  CoordinatorCounts counts() const;
  std::vector<Task> tasks_in_flight() const;
  const Roster& roster() const { return roster_; }
  ClusterGauges& gauges() { return gauges_; }
  void say(const Notice& notice) const { services_.note(notice); }
  /// Digest of everything the journal determines.
  std::string state_digest();
  std::string effects_digest() const;
  /// Theta [P]; while nothing drives the run.
  std::span<const float> theta() const { return state_->theta(); }
  /// Records of the journal that were processed when the run was opened.
  int64_t recovered_records() const { return recovered_records_; }

 private:
  Cluster(ClusterConfig config, const ClusterServices& services);
  Status recover(const std::function<StatusOr<std::vector<float>>()>& initial);
  Status open_identity();
  Status open_stores();
  Status make_state(std::vector<float> theta);
  Status restore(const std::string& snapshot);

  StatusOr<End> drive(const std::atomic<bool>* stop);
  void begin_round();
  std::vector<TimedEvent> wait_for_events();
  Status make_durable(const std::vector<TimedEvent>& events);
  Status take(TimedEvent& event);
  void send_out(const Effects& effects);
  bool finished() const;
  StatusOr<End> finish();
  bool is_drained() const;
  StatusOr<End> stop_now(bool with_snapshot);
  Status save();

  void write_records(const LoggedEvent& record, const Effects& effects);
  void write_lost(WorkerId worker, const LoggedEvent& record);
  void write_update(const LoggedEvent& record, TaskId task, int64_t staleness, std::string verdict,
                    const UpdateGeometry& geometry = {});
  void evaluate_if_due(bool at_end);
  void collect_evaluations();

  void post(Incoming incoming);
  Status check_real_clock() const;
  // Its verdict comes when the event is durable and its effects are out.
  std::future<StatusOr<UpdateVerdict>> post_for_verdict(Incoming incoming);
  static Status whether_it_happened(const StatusOr<UpdateVerdict>& verdict);
  void say_what_happened(const Incoming& incoming, const Effects& effects) const;
  bool snapshot_fits() const;
  Status make_room();
  void say_saved(int64_t step) const;
  Incoming loss_of(WorkerId worker, std::string why);
  void refuse_further_events(const StatusOr<UpdateVerdict>& last_word);
  static void answer(Incoming& incoming, const StatusOr<UpdateVerdict>& verdict);

  ClusterConfig config_;
  ClusterServices services_;
  const Layout* layout_ = nullptr;
  int64_t num_params_ = 0;
  Payload payload_;
  RunIdentity identity_;
  std::optional<Journal> journal_;
  std::unique_ptr<Spool> spool_;
  std::unique_ptr<VersionStore> versions_;
  Nanos clock_base_ = 0;   // of the run's clock when this process began
  Nanos clock_began_ = 0;  // of the machine's clock then
  int64_t recovered_records_ = 0;

  mutable std::mutex state_mutex_;  // the driver steps under it, everybody else reads
  std::unique_ptr<ClusterState> state_;
  std::multiset<WorkerId> leaving_;  // lost, and the machine does not know it yet; state_mutex_
  std::map<WorkerId, TaskId> last_wish_;  // that was taken; state_mutex_

  std::mutex delivery_mutex_;  // taken before all others
  std::multiset<TaskId> delivering_;

  mutable std::mutex queue_mutex_;
  std::condition_variable queue_changed_;
  std::vector<Incoming> queue_;                       // from any thread, until the driver takes it
  std::optional<StatusOr<UpdateVerdict>> last_word_;  // present: nothing is taken any more

  // The driver's own.
  std::unique_ptr<Timeline> timeline_;
  bool timeline_is_busy_ = false;  // it gave something the last time, so it is asked again at once
  std::map<TaskId, Task> recorded_tasks_;       // dispatched and without a record yet
  std::map<TaskId, LoggedEvent> held_records_;  // arrived, and waiting for their group
  Timesheet timesheet_;
  int64_t next_eval_steps_ = 0;
  int64_t last_saved_step_ = -1;
  std::optional<Nanos> last_save_took_;

  std::atomic<bool> draining_{false}, room_wanted_{false};
  ClusterGauges gauges_;
  Roster roster_;
  std::unique_ptr<Evaluator> evaluator_;
};

}  // namespace rubato
