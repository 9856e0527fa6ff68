#include "rubato/app/run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "rubato/app/build.h"
#include "rubato/app/initial_parameters.h"
#include "rubato/app/memory.h"
#include "rubato/app/run_notes.h"
#include "rubato/app/run_recorder.h"
#include "rubato/base/digest.h"
#include "rubato/metrics/report.h"
#include "rubato/metrics/run_statistics.h"
#include "rubato/metrics/sink.h"
#include "rubato/metrics/tensorboard.h"
#include "rubato/store/checkpoint.h"
#include "rubato/store/retention.h"

namespace rubato {
namespace {

class Run {
 public:
  Run(const Recipe& recipe, const Workload& workload, const std::string& data_digest,
      const RunEnvironment& environment)
      : recipe_(recipe), workload_(workload), data_digest_(data_digest), env_(environment) {}

  StatusOr<RunResult> execute() {
    began_ = env_.clock();
    RUBATO_RETURN_IF_ERROR(check_processor(recipe_));
    RUBATO_RETURN_IF_ERROR(check_initial_model(env_.files, recipe_, workload_, env_.init));
    RUBATO_RETURN_IF_ERROR(check_phases_fit());
    if (!env_.directory.empty()) RUBATO_RETURN_IF_ERROR(open_directory());
    if (!recorder_) recorder_.emplace(nullptr, env_.progress);
    if (!env_.tensorboard.empty()) {
      RUBATO_ASSIGN_OR_RETURN(TensorBoardSink sink,
                              TensorBoardSink::open(*env_.files, env_.tensorboard));
      tensorboard_.emplace(std::move(sink));
      recorder_->also_to(&*tensorboard_);
    }
    theta_.resize(static_cast<size_t>(workload_.layout().size()));
    const bool trains_on = resumed_ && notes_.phase == RunPhase::kTrain;
    if (!trains_on) RUBATO_RETURN_IF_ERROR(pretrain());
    if (!ended_early()) RUBATO_RETURN_IF_ERROR(train());
    RUBATO_RETURN_IF_ERROR(recorder_->flush());
    return conclude();
  }

 private:
  // Before anything is allocated or written.
  Status check_phases_fit() const {
    if (recipe_.has("pretrain.steps")) {
      RUBATO_ASSIGN_OR_RETURN(const SimulationConfig config,
                              pretraining_config(recipe_, env_.threads));
      RUBATO_RETURN_IF_ERROR(check_memory(config, workload_, env_.available_memory_bytes));
    }
    if (recipe_.text("train.mode") == "pretrain-only") return absl::OkStatus();
    RUBATO_ASSIGN_OR_RETURN(const SimulationConfig config, training_config(recipe_, env_.threads));
    return check_memory(config, workload_, env_.available_memory_bytes);
  }

  // ---- the run directory

  Status open_directory() {
    FileSystem& files = *env_.files;
    RUBATO_RETURN_IF_ERROR(files.make_directories(env_.directory));
    RUBATO_ASSIGN_OR_RETURN(lock_, files.lock_directory(env_.directory));
    RUBATO_ASSIGN_OR_RETURN(const bool holds_a_run, directory_holds_a_run());
    if (holds_a_run && !env_.resume) {
      return absl::AlreadyExistsError(cat("[run] ", env_.directory,
                                          ": got a directory that holds a run, want a new one; "
                                          "--resume continues the run, --out names another"));
    }
    const bool continues = env_.resume && files.exists(metrics_path(env_.directory));
    if (continues) RUBATO_RETURN_IF_ERROR(find_checkpoint());
    RUBATO_RETURN_IF_ERROR(
        files.replace_file(join_path(env_.directory, "recipe.toml"), recipe_.to_toml()));
    RUBATO_ASSIGN_OR_RETURN(JsonlSink sink, JsonlSink::open(files, env_.directory));
    jsonl_.emplace(std::move(sink));
    recorder_.emplace(&*jsonl_, env_.progress);
    return continues ? restore_records() : absl::OkStatus();
  }

  // A start that failed leaves neither a record nor a checkpoint, and is in nobody's way.
  StatusOr<bool> directory_holds_a_run() const {
    for (const std::string& path : {metrics_path(env_.directory), events_path(env_.directory)}) {
      if (!env_.files->exists(path)) continue;
      RUBATO_ASSIGN_OR_RETURN(const int64_t bytes, env_.files->file_size(path));
      if (bytes > 0) return true;
    }
    RUBATO_ASSIGN_OR_RETURN(const auto checkpoints, list_checkpoints(*env_.files, env_.directory));
    return !checkpoints.empty();
  }

  // The newest checkpoint of the same recipe over the same data, if there is one.
  Status find_checkpoint() {
    RUBATO_ASSIGN_OR_RETURN(const Recipe before, recipe_of_run(*env_.files, env_.directory));
    const std::vector<std::string> changed = difference(before, recipe_);
    if (!changed.empty()) {
      return absl::FailedPreconditionError(cat("[resume] ", env_.directory, ": got a recipe with ",
                                               join(changed, ", "),
                                               ", want the run's own; another --out starts anew"));
    }
    RUBATO_ASSIGN_OR_RETURN(const auto checkpoints, list_checkpoints(*env_.files, env_.directory));
    if (checkpoints.empty()) return absl::OkStatus();
    RUBATO_ASSIGN_OR_RETURN(resumed_, open_checkpoint(*env_.files, checkpoints.front()));
    last_checkpoint_ = checkpoints.front();
    RUBATO_ASSIGN_OR_RETURN(notes_, RunNotes::from_map(last_checkpoint_, resumed_->meta().notes));
    if (resumed_->meta().data_digest == data_digest_) return absl::OkStatus();
    return absl::FailedPreconditionError(cat("[resume] ", env_.directory, ": got data of digest ",
                                             data_digest_, ", want ", resumed_->meta().data_digest,
                                             "; another --out starts anew"));
  }

  // Records behind the checkpoint are forgotten: they will be made again.
  Status restore_records() {
    RUBATO_RETURN_IF_ERROR(jsonl_->truncate_to(notes_.offset));
    RUBATO_RETURN_IF_ERROR(env_.files->remove_file(summary_path(env_.directory)));
    RUBATO_ASSIGN_OR_RETURN(RunData before, load_run(*env_.files, env_.directory));
    recorder_->restore(std::move(before.log), notes_.mark);
    return absl::OkStatus();
  }

  // ---- phases

  Status pretrain() {
    if (!recipe_.has("pretrain.steps")) return draw_or_read();
    const std::string key = pretraining_key(recipe_);
    if (env_.pretrained != nullptr && env_.pretrained->contains(key) && !resumed_) {
      take_pretrained(env_.pretrained->at(key));
      return absl::OkStatus();
    }
    RUBATO_RETURN_IF_ERROR(draw_or_read());
    RUBATO_ASSIGN_OR_RETURN(const SimulationConfig config,
                            pretraining_config(recipe_, env_.threads));
    const Nanos began = wall();
    RUBATO_RETURN_IF_ERROR(run_phase(config));
    if (!ended_early()) RUBATO_RETURN_IF_ERROR(save());
    notes_.pretrain_steps = simulation_->local_steps();
    theta_.assign(simulation_->theta().begin(), simulation_->theta().end());
    simulation_.reset();
    resumed_.reset();
    if (env_.pretrained != nullptr && !ended_early()) {
      (*env_.pretrained)[key] = {theta_, recorder_->log().evals, wall() - began,
                                 notes_.pretrain_steps};
    }
    return absl::OkStatus();
  }

  Status draw_or_read() {
    return start_parameters(env_.files, recipe_, workload_, env_.init, theta_);
  }

  void take_pretrained(const Pretrained& pretrained) {
    theta_ = pretrained.theta;
    for (EvalRecord record : pretrained.evals) {
      record.method = recipe_.text("run.method");
      recorder_->take_over(record);
    }
    notes_.wall_ns += pretrained.wall_ns;
    notes_.pretrain_steps = pretrained.steps;
  }

  Status train() {
    if (!resumed_) notes_.training_began_ns = wall();
    if (recipe_.text("train.mode") == "pretrain-only") return evaluate_only();
    RUBATO_ASSIGN_OR_RETURN(const SimulationConfig config, training_config(recipe_, env_.threads));
    recorder_->mark_at(recipe_.integer("train.budget_local_steps"),
                       [this] { return digest_of(simulation_->theta()); });
    RUBATO_RETURN_IF_ERROR(run_phase(config));
    if (!ended_early()) RUBATO_RETURN_IF_ERROR(save());
    theta_.assign(simulation_->theta().begin(), simulation_->theta().end());
    return absl::OkStatus();
  }

  // The pretrained model as it is: a training phase of no steps.
  Status evaluate_only() {
    recorder_->set_phase(RunPhase::kTrain);
    recorder_->mark_at(0, [this] { return digest_of(theta_); });
    RUBATO_ASSIGN_OR_RETURN(const EvalResult result, workload_.evaluate(theta_, env_.threads));
    EvalRecord record;
    record.method = recipe_.text("run.method");
    record.wall_time_ns = wall();
    record.loss_nats = result.loss_nats;
    record.bits_per_byte = result.bits_per_byte;
    record.accuracy = result.accuracy;
    recorder_->on_eval(record);
    return absl::OkStatus();
  }

  Status run_phase(const SimulationConfig& config) {
    phase_ = config.phase;
    recorder_->set_phase(phase_);
    RUBATO_ASSIGN_OR_RETURN(simulation_, Simulation::make(config, workload_, theta_, *recorder_));
    if (resumed_) {
      RUBATO_RETURN_IF_ERROR(
          with_sound_checkpoint(*env_.files, env_.directory, last_checkpoint_, restore_state()));
      note_other_build(resumed_->meta().build_id);
    }
    session_began_ = env_.clock();
    session_steps_ = simulation_->local_steps_made();
    steps_total_ = config.coordinator.budget_steps *
                   std::max<int64_t>(static_cast<int64_t>(config.stands_for.size()), 1);
    const StatusOr<StopReason> reason = simulation_->run({.wall_clock = [this] { return wall(); },
                                                          .progress =
                                                              [this](const SimulationProgress& p) {
                                                                write_records_in_time();
                                                                show(p);
                                                              },
                                                          .save = [this] { return save(); },
                                                          .stop = env_.stop});
    if (!reason.ok()) {
      const Status status = with_last_checkpoint(reason.status());
      if (!is_divergence(status)) return status;
      diverged_ = std::string(status.message().data(), status.message().size());
      return absl::OkStatus();
    }
    interrupted_ = *reason == StopReason::kStopped;
    // Before the first arrival too: tasks in mid-flight are work that a resumed run keeps.
    if (!interrupted_ || !simulation_->started()) return absl::OkStatus();
    const Status saved = save();
    return saved.ok() ? saved : with_last_checkpoint(saved);
  }

  Status restore_state() {
    RUBATO_RETURN_IF_ERROR(resumed_->read_theta(workload_.layout(), theta_));
    simulation_->restore_theta(theta_);
    return resumed_->restore([this](StateWalk& walk) { simulation_->walk_state(walk); });
  }

  bool ended_early() const { return interrupted_ || !diverged_.empty(); }

  // The same bits are promised for one build only, so nobody should find out by comparing digests.
  void note_other_build(const std::string& before) {
    if (before == env_.build_id) return;
    const std::string text = cat("resumed by build ", env_.build_id, ", begun by ", before,
                                 "; digests may differ from those of an undisturbed run");
    recorder_->note({simulation_->virtual_time(), text});
    if (env_.progress != nullptr) env_.progress->note(cat("  note  ", text));
  }

  Status with_last_checkpoint(const Status& status) {
    // What was recorded up to the failure is worth keeping; the failure itself matters more.
    const Status flushed = recorder_->flush();
    const std::string where = last_checkpoint_.empty()
                                  ? "; there is no checkpoint yet"
                                  : cat("; last good checkpoint: ", last_checkpoint_);
    const bool is_said = flushed.ok() || flushed == status;
    return {status.code(), cat(std::string_view(status.message().data(), status.message().size()),
                               where, is_said ? "" : "; the records could not be written")};
  }

  // ---- checkpoints

  Status save() {
    if (env_.directory.empty()) return absl::OkStatus();
    FileSystem& files = *env_.files;
    RUBATO_ASSIGN_OR_RETURN(const JsonlOffset offset, jsonl_->offset());
    RunNotes notes = notes_;
    notes.phase = phase_;
    notes.offset = offset;
    notes.wall_ns = wall();
    notes.mark = recorder_->mark();
    notes.vocabulary = workload_.vocabulary_digest();
    const CheckpointMeta meta{.step = notes_.pretrain_steps + simulation_->local_steps(),
                              .build_id = env_.build_id,
                              .recipe_digest = recipe_.digest(),
                              .data_digest = data_digest_,
                              .notes = notes.to_map()};
    RUBATO_RETURN_IF_ERROR(
        write_checkpoint(files, env_.directory, meta, workload_.layout(), simulation_->theta(),
                         [this](StateWalk& walk) { simulation_->walk_state(walk); }));
    last_checkpoint_ = checkpoint_path(env_.directory, meta.step);
    RetentionPolicy policy{.keep_last = recipe_.integer("checkpoint.keep_last"),
                           .keep_every_steps = std::nullopt};
    if (recipe_.has("checkpoint.keep_every_local_steps")) {
      policy.keep_every_steps = recipe_.integer("checkpoint.keep_every_local_steps");
    }
    return prune_checkpoints(files, env_.directory, policy, meta.step).status();
  }

  // ---- what people see

  Nanos wall() const { return notes_.wall_ns + env_.clock() - began_; }

  // Whoever watches the run reads its files. What cannot be written is found out between steps.
  void write_records_in_time() {
    constexpr Nanos kLongestSilence = kNanosPerSecond;
    const Nanos now = env_.clock();
    if (now - records_written_ < kLongestSilence) return;
    records_written_ = now;
    recorder_->flush().IgnoreError();
  }

  void show(const SimulationProgress& p) {
    if (env_.progress == nullptr) return;
    const int64_t steps = simulation_->local_steps();
    const double seconds = to_seconds(env_.clock() - session_began_);
    // None until more is processed than what the tasks of a resumed run had made before it.
    const int64_t made = std::max<int64_t>(steps - session_steps_, 0);
    const double rate = static_cast<double>(made) / std::max(seconds, 1e-9);
    const double tokens_per_step =
        static_cast<double>(p.counts.tokens) / std::max(1.0, static_cast<double>(steps));
    env_.progress->update({.phase = phase_,
                           .method = recipe_.text("run.method"),
                           .steps_done = steps,
                           .steps_total = steps_total_,
                           .loss_nats = p.train_loss,
                           .bits_per_byte = p.last_eval ? p.last_eval->bits_per_byte : 0,
                           .lr = p.lr,
                           .tokens_per_s = rate * tokens_per_step,
                           .share_of_peak = share_of_peak(rate * tokens_per_step),
                           .staleness = static_cast<double>(p.staleness),
                           .eta_s = rate > 0 ? static_cast<double>(steps_total_ - steps) / rate
                                             : std::numeric_limits<double>::quiet_NaN()});
  }

  std::optional<double> share_of_peak(double tokens_per_s) const {
    const double flops = workload_.flops_per_token();
    if (!(flops > 0) || !(env_.peak_flops_per_s > 0)) return std::nullopt;
    return tokens_per_s * flops / env_.peak_flops_per_s;
  }

  // ---- the end

  StatusOr<RunResult> conclude() {
    RunResult result;
    result.interrupted = interrupted_;
    result.checkpoint = last_checkpoint_;
    result.diverged = diverged_;
    result.data.log = recorder_->log();
    result.data.recipe = recipe_.to_toml();
    result.data.summary = summarise_run();
    if (!env_.directory.empty() && !interrupted_) {
      RUBATO_RETURN_IF_ERROR(write_summary(*env_.files, env_.directory, result.data.summary));
      RUBATO_RETURN_IF_ERROR(write_report(*env_.files, join_path(env_.directory, "report.html"),
                                          cat("Rubato: ", recipe_.text("run.method")),
                                          std::span(&result.data, 1)));
    }
    result.theta = std::move(theta_);
    return result;
  }

  RunSummary summarise_run() const {
    RunSummary summary = summarise(recorder_->log_at_budget());
    summary.build_id = env_.build_id;
    summary.data_digest = data_digest_;
    summary.recipe_digest = recipe_.digest();
    summary.method = recipe_.text("run.method");
    summary.seed = static_cast<uint64_t>(recipe_.integer("run.seed"));
    summary.finished = !interrupted_;
    summary.workers = static_cast<int64_t>(recipe_.reals("fleet.seconds_per_step").size());
    if (!diverged_.empty()) {
      // Whatever was measured before says nothing about where this recipe leads.
      summary.failure = "diverged";
      summary.val_loss_nats = summary.val_bits_per_byte = std::numeric_limits<double>::quiet_NaN();
    }
    const double train_s = summary.wall_time_s - to_seconds(notes_.training_began_ns);
    summary.train_tokens_per_s = train_s > 0 ? static_cast<double>(summary.tokens) / train_s : 0;
    summary.params_digest =
        recorder_->mark() ? recorder_->mark()->params_digest : digest_of(theta_);
    return summary;
  }

  const Recipe& recipe_;
  const Workload& workload_;
  const std::string& data_digest_;
  const RunEnvironment& env_;

  DirectoryLock lock_;  // two processes would mix their records
  std::optional<JsonlSink> jsonl_;
  std::optional<TensorBoardSink> tensorboard_;
  std::optional<RunRecorder> recorder_;
  std::optional<CheckpointReader> resumed_;  // until its phase has taken it over
  std::unique_ptr<Simulation> simulation_;   // of the current phase
  std::vector<float> theta_;                 // [P] at the start of the phase, and at the end
  RunPhase phase_ = RunPhase::kTrain;
  bool interrupted_ = false;
  std::string diverged_;  // why, when it did
  std::string last_checkpoint_;
  RunNotes notes_;  // as the session began; the parts that a phase decides are kept up to date
  Nanos began_ = 0;
  Nanos session_began_ = 0;
  Nanos records_written_ = 0;
  int64_t session_steps_ = 0, steps_total_ = 1;
};

}  // namespace

StatusOr<RunResult> run_recipe(const Recipe& recipe, const Workload& workload,
                               const std::string& data_digest, const RunEnvironment& environment) {
  return Run(recipe, workload, data_digest, environment).execute();
}

StatusOr<Recipe> recipe_of_run(FileSystem& files, const std::string& directory) {
  const std::string path = join_path(directory, "recipe.toml");
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  RUBATO_ASSIGN_OR_RETURN(const Recipe recipe,
                          Recipe::parse(RecipeSchema::make(catalogue()), text, path));
  return recipe.narrowed();
}

}  // namespace rubato
