#include "rubato/rpc/cluster.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

// The driver looks at the stop flag and at results of evaluations at least this often.
constexpr Nanos kGlance = kNanosPerSecond / 10;

// A stop may take five seconds in all; a snapshot that may not fit is left out. One that was never
// measured fits when it is small.
constexpr Nanos kSaveWhileStopping = 2 * kNanosPerSecond;
constexpr int64_t kSmallModel = int64_t{16} << 20;  // [parameters]

v1::ToWorker dispatch_message(const Task& task, int64_t num_params) {
  v1::ToWorker message;
  *message.mutable_dispatch()->mutable_task() = to_proto(task, num_params);
  return message;
}

Status going_down() {
  return absl::UnavailableError("[cluster] the coordinator goes down; try again when it is back");
}

// What the effects of an arrival say about it.
UpdateVerdict verdict_of(TaskId task, const Effects& effects) {
  for (const Effect& effect : effects) {
    if (const auto* reject = std::get_if<Reject>(&effect); reject && reject->task == task)
      return {UpdateVerdict::Kind::kRejected, reject->reason};
    if (const auto* discard = std::get_if<Discard>(&effect); discard && discard->task == task)
      return {UpdateVerdict::Kind::kDiscarded, {}};
  }
  return {};
}

}  // namespace

Cluster::Cluster(ClusterConfig config, const ClusterServices& services)
    : config_(std::move(config)), services_(services), roster_(config_.lease) {}

Cluster::~Cluster() { roster_.release_all(v1::Release::WHY_STOPPING, "the coordinator ends"); }

StatusOr<std::unique_ptr<Cluster>> Cluster::open(
    ClusterConfig config, const ClusterServices& services, const Layout& layout,
    const std::function<StatusOr<std::vector<float>>()>& initial) {
  std::unique_ptr<Cluster> cluster(new Cluster(std::move(config), services));
  cluster->layout_ = &layout;
  cluster->num_params_ = layout.size();
  RUBATO_RETURN_IF_ERROR(cluster->recover(initial));
  return cluster;
}

// ---- the driver

StatusOr<Cluster::End> Cluster::run(const std::atomic<bool>* stop) {
  const StatusOr<End> end = drive(stop);
  // A disk that failed leaves nobody waiting.
  if (!end.ok()) refuse_further_events(going_down());
  return end;
}

StatusOr<Cluster::End> Cluster::drive(const std::atomic<bool>* stop) {
  while (!finished()) {
    begin_round();
    if (stop != nullptr && stop->load()) return stop_now(snapshot_fits());
    if (is_drained()) return stop_now(true);
    std::vector<TimedEvent> events = wait_for_events();
    Status status = make_durable(events);
    for (TimedEvent& event : events) {
      if (status.ok())
        status = take(event);
      else
        answer(event.incoming, status);
    }
    collect_evaluations();
    if (status.ok()) status = make_room();
    // With the system at once: whoever watches the run reads its files.
    if (status.ok()) status = services_.sink->flush();
    if (!status.ok()) return status;
  }
  return finish();
}

void Cluster::begin_round() {
  const Nanos now = clock();
  gauges_.last_round = now;
  const std::lock_guard lock(gauges_.mutex);
  gauges_.steps.add(now, state_->coordinator().counts().steps);
}

std::vector<TimedEvent> Cluster::wait_for_events() {
  {
    std::unique_lock lock(queue_mutex_);
    const Nanos now = clock();
    const Nanos next = std::min(timeline_->next_look().value_or(now + kGlance), now + kGlance);
    if (queue_.empty() && next > now && !timeline_is_busy_)
      queue_changed_.wait_for(lock, std::chrono::nanoseconds(next - now));
    for (Incoming& incoming : queue_) timeline_->add(std::move(incoming));
    queue_.clear();
  }
  if (!config_.script) {
    const std::lock_guard lock(state_mutex_);
    for (const WorkerId worker : roster_.take_expired(clock())) {
      if (!state_->coordinator().is_connected(worker)) continue;
      timeline_->add(loss_of(worker, cat("nothing heard for ", to_seconds(config_.lease), " s")));
    }
  }
  std::vector<TimedEvent> events = timeline_->take(clock());
  const UpdateVerdict too_late{UpdateVerdict::Kind::kRejected, RejectReason::kSuperseded};
  for (Incoming& incoming : timeline_->take_hopeless()) answer(incoming, too_late);
  timeline_is_busy_ = !events.empty();
  return events;
}

Status Cluster::make_durable(const std::vector<TimedEvent>& events) {
  if (events.empty()) return absl::OkStatus();
  for (const TimedEvent& event : events) {
    RUBATO_RETURN_IF_ERROR(
        journal_->append(to_bytes({event.now, event.incoming.event, event.incoming.notes}))
            .status());
  }
  const Nanos began = services_.clock();
  RUBATO_RETURN_IF_ERROR(journal_->sync());
  gauges_.journal_sync_ns += services_.clock() - began;
  ++gauges_.journal_syncs;
  return absl::OkStatus();
}

Status Cluster::take(TimedEvent& event) {
  const LoggedEvent record{event.now, event.incoming.event, event.incoming.notes};
  StatusOr<Effects> effects = absl::UnknownError("");
  bool is_news = true;
  {
    const std::lock_guard lock(state_mutex_);
    const auto* lost = std::get_if<WorkerLost>(&record.event);
    // A loss of somebody who is not there is none.
    if (lost != nullptr) is_news = state_->coordinator().is_connected(lost->worker);
    effects = state_->process(record);
    if (lost != nullptr) {
      if (const auto it = leaving_.find(lost->worker); it != leaving_.end()) leaving_.erase(it);
    }
  }
  if (!effects.ok()) {
    answer(event.incoming, effects.status());
    return effects.status();
  }
  timeline_->follow(event.now, *effects);
  const auto* update = std::get_if<UpdateArrived>(&record.event);
  answer(event.incoming, update ? verdict_of(update->task, *effects) : UpdateVerdict{});
  // The script lets a worker go that does not know it.
  if (const auto* lost = std::get_if<WorkerLost>(&record.event); lost && config_.script)
    roster_.release(lost->worker, v1::Release::WHY_EVICTED, "the recipe's fleet has it leave");
  send_out(*effects);
  if (is_news) say_what_happened(event.incoming, *effects);
  write_records(record, *effects);
  evaluate_if_due(false);
  const bool save_asked = std::ranges::any_of(
      *effects, [](const Effect& effect) { return std::holds_alternative<Save>(effect); });
  return save_asked ? save() : absl::OkStatus();
}

void Cluster::send_out(const Effects& effects) {
  for (const Effect& effect : effects) {
    if (const auto* dispatch = std::get_if<Dispatch>(&effect))
      roster_.send(dispatch->task.worker, dispatch_message(dispatch->task, num_params_));
  }
}

bool Cluster::finished() const {
  const std::lock_guard lock(state_mutex_);
  return state_->coordinator().finished();
}

StatusOr<Cluster::End> Cluster::finish() {
  refuse_further_events(UpdateVerdict{UpdateVerdict::Kind::kRejected, RejectReason::kFinished});
  roster_.release_all(v1::Release::WHY_FINISHED, "the run's budget is used up");
  if (evaluator_) {
    evaluate_if_due(true);
    evaluator_->finish();
    collect_evaluations();
  }
  RUBATO_RETURN_IF_ERROR(save());
  return End::kFinished;
}

bool Cluster::snapshot_fits() const {
  return last_save_took_ ? *last_save_took_ < kSaveWhileStopping : num_params_ < kSmallModel;
}

StatusOr<Cluster::End> Cluster::stop_now(bool with_snapshot) {
  // Everything acknowledged is in the journal; a snapshot only makes the next start shorter.
  refuse_further_events(going_down());
  roster_.release_all(v1::Release::WHY_STOPPING, "it comes back");
  if (services_.stop_evaluation) services_.stop_evaluation();
  if (with_snapshot) RUBATO_RETURN_IF_ERROR(save());
  return End::kStopped;
}

Status Cluster::save() {
  const std::lock_guard lock(state_mutex_);
  const int64_t step = state_->coordinator().counts().steps;
  // A snapshot of the same step has the same parameters; the journal behind it holds the rest.
  if (step == last_saved_step_) return absl::OkStatus();
  const Nanos began = services_.clock();
  CheckpointMeta meta{.step = step,
                      .build_id = config_.build_id,
                      .recipe_digest = config_.digests.recipe,
                      .data_digest = config_.digests.data,
                      .notes = {}};
  if (services_.snapshot_notes) {
    RUBATO_ASSIGN_OR_RETURN(meta.notes, services_.snapshot_notes());
  }
  RUBATO_RETURN_IF_ERROR(services_.sink->flush());
  RUBATO_RETURN_IF_ERROR(state_->persist_versions());
  RUBATO_RETURN_IF_ERROR(write_checkpoint(*services_.files, config_.directory, meta, *layout_,
                                          state_->theta(),
                                          [this](StateWalk& walk) { state_->walk_state(walk); }));
  RUBATO_RETURN_IF_ERROR(journal_->start_segment());
  if (!config_.keep_deltas) RUBATO_RETURN_IF_ERROR(journal_->trim_before(state_->records()));
  RUBATO_RETURN_IF_ERROR(spool_->trim(state_->needed_deltas()));
  last_saved_step_ = step;
  last_save_took_ = services_.clock() - began;
  say_saved(step);
  RetentionPolicy retention = config_.retention;
  // The first snapshot is where a replay of everything begins.
  if (config_.keep_deltas && !retention.keep_every_steps)
    retention.keep_every_steps = std::numeric_limits<int64_t>::max();
  return prune_checkpoints(*services_.files, config_.directory, retention, step).status();
}

// ---- from the transport

void Cluster::post(Incoming incoming) {
  const std::lock_guard lock(queue_mutex_);
  if (last_word_) return answer(incoming, *last_word_);
  queue_.push_back(std::move(incoming));
  queue_changed_.notify_all();
}

std::future<StatusOr<UpdateVerdict>> Cluster::post_for_verdict(Incoming incoming) {
  incoming.outcome = std::make_shared<EventOutcome>();
  std::future<StatusOr<UpdateVerdict>> verdict = incoming.outcome->verdict();
  post(std::move(incoming));
  return verdict;
}

// Whoever waits gets this answer, and whoever comes later.
void Cluster::refuse_further_events(const StatusOr<UpdateVerdict>& last_word) {
  const std::lock_guard lock(queue_mutex_);
  last_word_ = last_word;
  for (Incoming& incoming : queue_) answer(incoming, last_word);
  for (Incoming& incoming : timeline_->give_up()) answer(incoming, last_word);
  queue_.clear();
}

void Cluster::answer(Incoming& incoming, const StatusOr<UpdateVerdict>& verdict) {
  if (incoming.outcome) std::exchange(incoming.outcome, nullptr)->set(verdict);
}

Cluster::Seat Cluster::attend(WorkerId worker, const WorkerHello& hello) {
  const std::lock_guard lock(state_mutex_);
  const Coordinator& coordinator = state_->coordinator();
  Seat seat;
  for (const Task& task : coordinator.tasks_in_flight()) {
    if (task.worker == worker) seat.tasks.push_back(task);
  }
  // Somebody the machine knows goes on; a newcomer, or one that has lost its state, joins. So does
  // one whose loss is about to be booked: the join comes behind it.
  const bool goes_on = coordinator.is_connected(worker) && !leaving_.contains(worker) &&
                       (hello.has_state || config_.script);
  if (!goes_on) {
    seat.tasks.clear();
    post({.event = WorkerJoined{worker, hello.ns_per_step, hello.has_state},
          .notes = {},
          .outcome = nullptr});
  }
  seat.box = roster_.attach(worker, clock());
  if (goes_on)
    say({.event = "returned",
         .text = cat("worker ", worker, " is back, with ", seat.tasks.size(), " tasks"),
         .facts = {{"worker", worker.value()}, {"tasks", std::ssize(seat.tasks)}}});
  return seat;
}

void Cluster::want(WorkerId worker, TaskId behind) {
  // On the virtual clock the script knows when a wish comes.
  if (config_.script) return;
  {
    // A wish that changes nothing is not written down, nor one that is about to be.
    const std::lock_guard lock(state_mutex_);
    if (!state_->coordinator().takes_wish(worker, behind)) return;
    const auto [last, is_new] = last_wish_.emplace(worker, behind);
    if (!is_new && std::exchange(last->second, behind) == behind) return;
  }
  post({.event = TaskWanted{worker, behind}, .notes = {}, .outcome = nullptr});
}

void Cluster::leave(WorkerId worker) {
  roster_.release(worker, v1::Release::WHY_UNSPECIFIED, "goodbye");
  if (config_.script) return;
  const std::lock_guard lock(state_mutex_);
  post(loss_of(worker, "it said goodbye"));
}

// Under state_mutex_.
Incoming Cluster::loss_of(WorkerId worker, std::string why) {
  leaving_.insert(worker);
  return {.event = WorkerLost{worker}, .notes = {}, .outcome = nullptr, .why = std::move(why)};
}

std::optional<UpdateVerdict> Cluster::answer_at_once(WorkerId worker, TaskId task) const {
  const std::lock_guard lock(state_mutex_);
  const std::optional<Effect> effect = state_->coordinator().answer_at_once(worker, task);
  if (!effect) return std::nullopt;
  return verdict_of(task, {*effect});
}

std::shared_ptr<const void> Cluster::begin_delivery(TaskId task) {
  const std::lock_guard lock(delivery_mutex_);
  delivering_.insert(task);
  return {this, [this, task](const void*) {
            const std::lock_guard end_lock(delivery_mutex_);
            delivering_.erase(delivering_.find(task));
          }};
}

StatusOr<std::optional<UpdateVerdict>> Cluster::remove_untold(WorkerId worker, TaskId task) {
  const std::lock_guard lock(delivery_mutex_);
  if (delivering_.contains(task)) {
    return absl::UnavailableError(cat("[push] got another delta of task ", task,
                                      " while one is being judged, want it later"));
  }
  if (std::optional<UpdateVerdict> verdict = answer_at_once(worker, task)) return verdict;
  RUBATO_RETURN_IF_ERROR(spool_->remove(task));
  return std::nullopt;
}

StatusOr<UpdateVerdict> Cluster::deliver(WorkerId worker, const DeltaClaim& claim, double norm,
                                         bool finite) {
  return post_for_verdict({.event = UpdateArrived{.worker = worker,
                                                  .task = claim.task,
                                                  .steps_done = claim.steps_done,
                                                  .tokens = claim.tokens,
                                                  .train_ns = claim.train_ns,
                                                  .norm = norm,
                                                  .finite = finite},
                           .notes = claim.notes,
                           .outcome = nullptr})
      .get();
}

}  // namespace rubato
