#include "rubato/rpc/worker_program.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "rubato/base/digest.h"
#include "rubato/rpc/wire.h"
#include "rubato/store/checkpoint.h"
#include "rubato/store/retention.h"

namespace rubato {
namespace {

// The inner state is written at most this often: after a crash its moments may be that old, which
// costs nothing that can be measured.
constexpr Nanos kStatePeriod = 60 * kNanosPerSecond;

std::string verdict_text(const UpdateVerdict& verdict) {
  switch (verdict.kind) {
    case UpdateVerdict::Kind::kApplied:
      return "applied";
    case UpdateVerdict::Kind::kDiscarded:
      return "discarded";
    case UpdateVerdict::Kind::kRejected:
      return cat("rejected: ", to_string(verdict.reason));
  }
  return "";
}

class Worker {
 public:
  Worker(const WorkerConfig& config, const WorkerServices& services)
      : config_(config),
        services_(services),
        num_params_(services.workload->layout().size()),
        courier_(*services.link, services_.environment) {}

  Status run() {
    RUBATO_RETURN_IF_ERROR(check_description(config_.run));
    RUBATO_ASSIGN_OR_RETURN(trainer_, services_.workload->make_trainer(
                                          config_.settings.batch_sequences, config_.threads));
    inner_ = services_.workload->optimizer().make_state(num_params_);
    RUBATO_RETURN_IF_ERROR(load_state());
    attendance_.emplace(*services_.link, hello(), config_.run.heartbeat_interval_ns(),
                        services_.environment);
    RUBATO_ASSIGN_OR_RETURN(const v1::Welcome welcome, attendance_->wait_for_welcome());
    RUBATO_RETURN_IF_ERROR(agree(welcome));
    while (std::optional<Prepared> next = next_prepared()) {
      RUBATO_RETURN_IF_ERROR(do_task(std::move(*next)));
      attendance_->report(-1, 0);
    }
    RUBATO_RETURN_IF_ERROR(settle_push());
    RUBATO_RETURN_IF_ERROR(save_state());
    if (stop_asked()) attendance_->leave("stopped");
    return attendance_->end();
  }

 private:
  bool stop_asked() const {
    return services_.environment.stop != nullptr && services_.environment.stop->load();
  }
  Nanos clock() const { return services_.environment.clock(); }

  v1::Hello hello() const {
    v1::Hello hello;
    hello.mutable_protocol()->set_first(kProtocolFirst);
    hello.mutable_protocol()->set_last(kProtocolLast);
    hello.set_build(config_.run.build());
    hello.set_run(config_.run.run());
    hello.set_incarnation(config_.run.incarnation());
    hello.set_recipe_digest(config_.run.recipe_digest());
    hello.set_layout_digest(layout_digest(services_.workload->layout()));
    hello.set_tokenizer_digest(services_.workload->vocabulary_digest());
    for (const CodecEntry* entry : codec_entries()) {
      hello.add_up_codecs(entry->name);
      hello.add_down_codecs(entry->name);
    }
    hello.set_memory_bytes(config_.memory_bytes);
    hello.set_ns_per_step(config_.ns_per_step);
    hello.set_has_state(inner_.steps > 0);
    return hello;
  }

  Status agree(const v1::Welcome& welcome) {
    RUBATO_ASSIGN_OR_RETURN(up_, codec_from_proto(welcome.up_codec()));
    RUBATO_ASSIGN_OR_RETURN(down_, codec_from_proto(welcome.down_codec()));
    up_name_ = welcome.up_codec();
    down_name_ = welcome.down_codec();
    feedback_.emplace(up_, num_params_);
    return absl::OkStatus();
  }

  // ---- one task

  using Base = std::shared_ptr<const std::vector<float>>;

  // A task whose parameters are here or on their way.
  struct Prepared {
    v1::Task message;
    std::future<StatusOr<Base>> base;
  };

  Prepared prepare(v1::Task message) {
    const int64_t version = message.fragments_size() > 0 ? message.fragments(0).base_version() : 0;
    return {std::move(message), std::async(std::launch::async, [this, version]() -> StatusOr<Base> {
              const Nanos began = clock();
              auto values = std::make_shared<std::vector<float>>(static_cast<size_t>(num_params_));
              RUBATO_RETURN_IF_ERROR(courier_.fetch_parameters(
                  version, *down_, down_name_, *values,
                  [this] { return !attendance_->ended() && !stop_asked(); }));
              fetch_ns_ = clock() - began;
              return Base(std::move(values));
            })};
  }

  std::optional<Prepared> next_prepared() {
    if (next_) return std::exchange(next_, std::nullopt);
    std::optional<v1::Task> message = attendance_->next_task();
    if (!message) return std::nullopt;
    return prepare(std::move(*message));
  }

  Status do_task(Prepared prepared) {
    const TaskBounds bounds{num_params_, services_.data->logical_shards(),
                            config_.settings.batch_sequences};
    RUBATO_ASSIGN_OR_RETURN(const Task task,
                            task_from_proto(prepared.message, config_.worker, bounds));
    const Nanos began = clock();
    TaskReport report;
    report.task = task.id.value();
    const StatusOr<Base> base = prepared.base.get();
    if (absl::IsNotFound(base.status())) return hand_back(task);
    if (!base.ok()) return ended_or(base.status());
    report.fetch_ns = clock() - began;
    TaskRun run(task, *base, &inner_);
    train(run, report);
    if (!attendance_->is_wanted(report.task) && !stop_asked()) {
      report.verdict = "given up";
      attendance_->forget(report.task);
      services_.report(report);
      return absl::OkStatus();
    }
    if (run.steps_done() == 0) return hand_back(task);
    run.finish();
    attendance_->set_has_state();
    RUBATO_RETURN_IF_ERROR(send(run, report));
    return clock() - saved_at_ > kStatePeriod ? save_state() : absl::OkStatus();
  }

  void train(TaskRun& run, TaskReport& report) {
    const Task& task = run.task();
    bool goes_on = true, asked = false;
    while (goes_on && !stop_asked() && attendance_->is_wanted(task.id.value())) {
      const Nanos began = clock();
      goes_on = run.advance(*trainer_, config_.settings, *services_.data, config_.threads);
      const Nanos left = began + config_.min_step_ns - clock();
      if (left > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(left));
      report.train_ns += clock() - began;
      attendance_->report(task.id.value(), run.steps_done());
      if (config_.overlap == Overlap::kNone) continue;
      if (!asked && is_time_to_ask(task, run.steps_done(), report.train_ns)) {
        attendance_->want(task.id.value());
        asked = true;
      }
      if (next_) continue;
      if (std::optional<v1::Task> message = attendance_->take_task())
        next_ = prepare(std::move(*message));
    }
    report.steps = run.steps_done();
    report.tokens = run.tokens();
    report.mean_loss = run.mean_loss();
  }

  // Full overlap asks as early as asking and fetching take.
  bool is_time_to_ask(const Task& task, int64_t done, Nanos train_ns) const {
    if (done >= task.steps) return true;
    if (config_.overlap != Overlap::kFull) return false;
    const Nanos left = train_ns / done * (task.steps - done);
    return left <= attendance_->round_trip() + fetch_ns_;
  }

  // ---- the delta

  v1::DeltaHeader header_of(const TaskRun& run, const TaskReport& report) const {
    v1::DeltaHeader header;
    header.set_task(report.task);
    header.set_incarnation(config_.run.incarnation());
    *header.mutable_codec() = up_name_;
    header.set_bytes(std::ssize(*encoded_));
    header.set_digest(digest_of(
        std::string_view(reinterpret_cast<const char*>(encoded_->data()), encoded_->size())));
    header.set_steps_done(report.steps);
    header.set_tokens(report.tokens);
    header.set_train_ns(report.train_ns);
    header.set_mean_loss(report.mean_loss);
    header.set_last_lr(run.last_lr());
    return header;
  }

  Status send(const TaskRun& run, const TaskReport& report) {
    // One delta travels at a time: error feedback wants the answer to the one before.
    RUBATO_RETURN_IF_ERROR(settle_push());
    encoded_ = nullptr;
    encoded_ = encodings_.take(static_cast<size_t>(up_->encoded_bytes(num_params_)));
    feedback_->encode(run.delta(), *encoded_, nullptr);
    pushed_ = report;
    push_ = std::async(std::launch::async, [this, header = header_of(run, report)] {
      const Nanos began = clock();
      StatusOr<UpdateVerdict> verdict = courier_.push(header, encoded_, *up_, still_wanted());
      pushed_.push_ns = clock() - began;
      return verdict;
    });
    return config_.overlap == Overlap::kNone ? settle_push() : absl::OkStatus();
  }

  // Waits for the answer to the delta that travels, if one does.
  Status settle_push() {
    if (!push_.valid()) return absl::OkStatus();
    const StatusOr<UpdateVerdict> verdict = push_.get();
    const bool counts = verdict.ok() && verdict->kind == UpdateVerdict::Kind::kApplied;
    if (counts) {
      feedback_->commit();
    } else {
      feedback_->roll_back();
    }
    pushed_.verdict = verdict.ok() ? verdict_text(*verdict) : "given up";
    attendance_->forget(pushed_.task);
    services_.report(pushed_);
    return verdict.ok() ? absl::OkStatus() : ended_or(verdict.status());
  }

  // Nothing was done: its data goes back in line.
  Status hand_back(const Task& task) {
    v1::DeltaHeader header;
    header.set_task(task.id.value());
    header.set_incarnation(config_.run.incarnation());
    const StatusOr<UpdateVerdict> verdict = courier_.push(header, nullptr, *up_, still_wanted());
    attendance_->forget(task.id.value());
    return verdict.ok() ? absl::OkStatus() : ended_or(verdict.status());
  }

  std::function<bool()> still_wanted() const {
    return [this] { return !attendance_->ended() || stop_asked(); };
  }

  // When the session is over its stream says better why.
  Status ended_or(const Status& status) const {
    return attendance_->ended() || stop_asked() ? absl::OkStatus() : status;
  }

  // ---- the inner state on disk

  // Moments that were made behind a rollback are as void as the deltas: they may be what diverged.
  std::string name_of_run() const { return cat(config_.run.run(), ".", config_.run.incarnation()); }

  void walk_state(StateWalk& walk) {
    PrefixedWalk inner(walk, "inner.");
    inner_.walk_state(inner);
  }

  Status save_state() {
    if (config_.state_directory.empty() || inner_.steps == 0) return absl::OkStatus();
    saved_at_ = clock();
    const CheckpointMeta meta{.step = inner_.steps,
                              .build_id = config_.run.build(),
                              .recipe_digest = config_.run.recipe_digest(),
                              .data_digest = config_.run.data_digest(),
                              .notes = {{"run", name_of_run()}}};
    RUBATO_RETURN_IF_ERROR(write_checkpoint(*services_.files, config_.state_directory, meta,
                                            Layout(), {},
                                            [this](StateWalk& walk) { walk_state(walk); }));
    return prune_checkpoints(*services_.files, config_.state_directory,
                             {.keep_last = 1, .keep_every_steps = std::nullopt}, meta.step)
        .status();
  }

  // What is damaged or of another run is of no use; a worker without a state is a worker.
  Status load_state() {
    saved_at_ = clock();
    if (config_.state_directory.empty()) return absl::OkStatus();
    RUBATO_ASSIGN_OR_RETURN(const auto kept,
                            list_checkpoints(*services_.files, config_.state_directory));
    if (kept.empty()) return absl::OkStatus();
    const StatusOr<CheckpointReader> reader = open_checkpoint(*services_.files, kept.front());
    Status status = reader.status();
    if (status.ok() && reader->meta().notes.contains("run") &&
        reader->meta().notes.at("run") == name_of_run()) {
      status = reader->restore([this](StateWalk& walk) { walk_state(walk); });
    }
    if (!status.ok()) {
      services_.environment.note({.level = Notice::Level::kWarning,
                                  .event = "state",
                                  .text = cat("begins without its inner state: ", status.message()),
                                  .facts = {}});
      inner_ = services_.workload->optimizer().make_state(num_params_);
    }
    return absl::OkStatus();
  }

  const WorkerConfig& config_;
  const WorkerServices& services_;
  int64_t num_params_;
  Courier courier_;
  std::unique_ptr<Trainer> trainer_;
  InnerState inner_;
  std::optional<Attendance> attendance_;
  std::shared_ptr<const Codec> up_, down_;
  v1::Codec up_name_, down_name_;
  std::optional<ErrorFeedback> feedback_;
  BufferPool encodings_;
  BufferPool::Buffer encoded_;      // of the delta that travels, or the last one that did
  std::atomic<Nanos> fetch_ns_{0};  // that the last parameters took
  std::optional<Prepared> next_;    // behind the task that is trained
  TaskReport pushed_;               // of the delta that travels
  std::future<StatusOr<UpdateVerdict>> push_;  // its answer; not valid: none travels
  Nanos saved_at_ = 0;
};

}  // namespace

Status work(const WorkerConfig& config, const WorkerServices& services) {
  return Worker(config, services).run();
}

StatusOr<Nanos> calibrate_step(const Workload& workload, const WorkerSettings& settings,
                               const DataMap& data, int threads,
                               const std::function<Nanos()>& clock) {
  RUBATO_ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                          workload.make_trainer(settings.batch_sequences, threads));
  std::vector<float> params(static_cast<size_t>(workload.layout().size()));
  workload.initialise(0, params);
  InnerState state = workload.optimizer().make_state(workload.layout().size());
  std::vector<SequenceRef> batch;
  for (int64_t i = 0; i < settings.batch_sequences; ++i)
    batch.push_back(data.locate(ShardId(0), 0, i % data.logical_shards()[0]));
  Nanos best = 0;
  for (int i = 0; i < 2; ++i) {
    const Nanos began = clock();
    trainer->step(params, state, batch, settings.learning_rate.min, threads);
    const Nanos took = std::max<Nanos>(clock() - began, 1);
    best = best == 0 ? took : std::min(best, took);
  }
  return best;
}

}  // namespace rubato
