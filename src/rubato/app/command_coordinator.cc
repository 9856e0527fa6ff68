// rubato coordinator RECIPE --listen HOST:PORT
#include <chrono>
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>
#include <sys/resource.h>

#include "rubato/app/build_id.h"
#include "rubato/app/cluster_setup.h"
#include "rubato/app/command_support.h"
#include "rubato/app/initial_parameters.h"
#include "rubato/app/log.h"
#include "rubato/app/memory.h"
#include "rubato/app/methods.h"
#include "rubato/app/operation.h"
#include "rubato/app/run_notes.h"
#include "rubato/app/run_recorder.h"
#include "rubato/app/tls_flags.h"
#include "rubato/base/address.h"
#include "rubato/base/digest.h"
#include "rubato/base/one_line.h"
#include "rubato/lm/arena.h"
#include "rubato/metrics/report.h"
#include "rubato/metrics/run_statistics.h"
#include "rubato/metrics/table.h"
#include "rubato/rpc/founding.h"
#include "rubato/rpc/grpc_service.h"
#include "rubato/rpc/rollback.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct CoordinatorFlags : TrainingFlags {
  std::string listen = "127.0.0.1:7461";
  std::vector<std::string> hosts;  // further names in the certificate
  int64_t start_workers = 1;
  double lease_s = 30;
  bool keep_deltas = false, virtual_clock = false, insecure = false;
  GivenFiles tls;
  std::string http;
  double spool_gib = 0;
  double certificate_hours = static_cast<double>(kWorkerCertificateS) / 3600;
  LogFlags log;
};

// A peer that opens connections in plenty must not take the files of everybody else: where there
// are none left, gRPC stops listening for good.
void allow_many_connections() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// One coordinator process, in the order in which its parts need each other.
class CoordinatorProcess {
 public:
  CoordinatorProcess(const CoordinatorFlags& flags, Terminal& terminal)
      : flags_(flags),
        terminal_(terminal),
        progress_(terminal.err, terminal.interactive, monotonic_now),
        log_(flags.log, terminal.err, &progress_) {}

  StatusOr<int> run() {
    stop_ = terminal_.watch_interrupts ? terminal_.watch_interrupts() : nullptr;
    directory_ = output_directory(flags_, "-cluster");
    RUBATO_RETURN_IF_ERROR(check_listen());
    RUBATO_RETURN_IF_ERROR(check_given_files(flags_.tls));
    if (flags_.tls.given()) {
      RUBATO_ASSIGN_OR_RETURN(
          given_, load_given_identity(files_, flags_.tls, CertificateRole::kServer, unix_now_s()));
    }
    RUBATO_RETURN_IF_ERROR(load());
    if (!is_opaque()) RUBATO_RETURN_IF_ERROR(build());
    RUBATO_RETURN_IF_ERROR(files_.make_directories(directory_));
    RUBATO_ASSIGN_OR_RETURN(lock_, files_.lock_directory(directory_));
    // Before anybody asks which snapshot is the newest.
    RUBATO_RETURN_IF_ERROR(complete_rollback(files_, directory_));
    RUBATO_RETURN_IF_ERROR(open_admission());
    if (is_opaque()) {
      RUBATO_ASSIGN_OR_RETURN(const bool is_founded, wait_for_model());
      if (!is_founded) return kExitOk;
      RUBATO_RETURN_IF_ERROR(build());
    }
    RUBATO_RETURN_IF_ERROR(open_records());
    const Status opened = open_cluster();
    if (absl::IsCancelled(opened)) {
      say_stopped();
      return kExitOk;
    }
    RUBATO_RETURN_IF_ERROR(opened);
    RUBATO_RETURN_IF_ERROR(listen());
    const StatusOr<Cluster::End> end = cluster_->run(stop_);
    const Status flushed = recorder_->flush();
    RUBATO_RETURN_IF_ERROR(end.status());
    RUBATO_RETURN_IF_ERROR(flushed);
    operation_.reset();
    server_.reset();
    return conclude(*end == Cluster::End::kFinished);
  }

 private:
  Status check_listen() {
    RUBATO_ASSIGN_OR_RETURN(address_, parse_listen(flags_.listen));
    // What is used only behind the pretraining is not found wrong there.
    if (!flags_.http.empty()) RUBATO_RETURN_IF_ERROR(parse_listen(flags_.http).status());
    for (const std::string& host : flags_.hosts) {
      if (is_host(host)) continue;
      return absl::InvalidArgumentError(
          cat("[coordinator] --host: got ", one_line(host), ", want a name or an address"));
    }
    if (!flags_.insecure || is_loopback(address_.host)) return absl::OkStatus();
    log_.write({.level = Notice::Level::kWarning,
                .event = "insecure",
                .text = "--insecure: everybody on the way reads and changes what is sent, secrets "
                        "included",
                .facts = {}});
    return absl::OkStatus();
  }

  Status load() {
    RUBATO_ASSIGN_OR_RETURN(const Recipe base, load_recipe(flags_));
    RUBATO_ASSIGN_OR_RETURN(Recipe recipe, recipe_for_method(base, base.text("run.method")));
    RUBATO_RETURN_IF_ERROR(check_sets_have_effect(base, std::span(&recipe, 1)));
    recipe_.emplace(std::move(recipe));
    if (!is_opaque() || !flags_.virtual_clock) return absl::OkStatus();
    return recipe_->error(std::string(kModelKind),
                          "got opaque on the virtual clock, want a model that the simulator knows");
  }

  bool is_opaque() const { return recipe_->text(kModelKind) == kOpaqueModel; }

  Status build() {
    RUBATO_ASSIGN_OR_RETURN(
        built_, build_for_run(*recipe_, directory_, files_, thread_count(flags_.threads)));
    RUBATO_RETURN_IF_ERROR(check_initial_model(&files_, *recipe_, *built_.workload, flags_.init));
    RUBATO_ASSIGN_OR_RETURN(setup_, cluster_setup(*recipe_, built_, files_));
    ClusterConfig& config = setup_.cluster;
    config.directory = directory_;
    config.build_id = build_id();
    config.threads = thread_count(flags_.threads);
    config.lease = from_seconds(flags_.lease_s);
    config.start_workers = flags_.start_workers;
    config.keep_deltas = flags_.keep_deltas;
    if (flags_.spool_gib > 0)
      config.quota_bytes = static_cast<int64_t>(flags_.spool_gib * (int64_t{1} << 30));
    if (flags_.virtual_clock) {
      config.script.emplace();
      for (const SimWorker& worker : setup_.training.fleet) {
        config.script->push_back(
            {worker.ns_per_step, worker.link, worker.join_at, worker.leave_at, worker.return_at});
      }
    }
    setup_.reception.heartbeat_interval = heartbeat_interval();
    return absl::OkStatus();
  }

  Nanos heartbeat_interval() const { return from_seconds(flags_.lease_s) / 15; }

  // An opaque run begins with the model of its first worker; false when a stop came before it.
  StatusOr<bool> wait_for_model() {
    RUBATO_ASSIGN_OR_RETURN(const std::optional<Layout> layout,
                            read_model_layout(files_, directory_));
    if (layout) return true;
    FoundingConfig config{.directory = directory_,
                          .description = {},
                          .check_room = [this](const Layout& model) { return check_room(model); },
                          .note = [this](const Notice& notice) { log_.write(notice); }};
    config.description.set_build(build_id());
    config.description.set_recipe_toml(recipe_->to_toml());
    config.description.set_recipe_digest(cluster_recipe_digest(*recipe_));
    config.description.set_heartbeat_interval_ns(heartbeat_interval());
    config.description.set_lease_ns(from_seconds(flags_.lease_s));
    Founding founding(files_, std::move(config));
    RUBATO_RETURN_IF_ERROR(listen_with(founding));
    log_.write({.event = "founding",
                .text = "waiting for a worker that brings the run's model",
                .facts = {}});
    bool is_founded = false;
    while (!is_founded && !(stop_ != nullptr && stop_->load()))
      is_founded = founding.wait(kNanosPerSecond / 10);
    server_.reset();
    return is_founded;
  }

  Status check_room(const Layout& model) {
    RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload built, build_opaque(*recipe_, model));
    RUBATO_ASSIGN_OR_RETURN(SimulationConfig training, training_config(*recipe_, 1));
    training.fleet.clear();  // workers are elsewhere
    return check_memory(training, *built.workload, available_memory_bytes());
  }

  // Records behind the newest snapshot are made again from the journal; evaluations are kept.
  Status open_records() {
    RUBATO_RETURN_IF_ERROR(
        files_.replace_file(join_path(directory_, "recipe.toml"), recipe_->to_toml()));
    RUBATO_ASSIGN_OR_RETURN(const auto snapshots, list_checkpoints(files_, directory_));
    if (!snapshots.empty()) {
      RUBATO_ASSIGN_OR_RETURN(const CheckpointReader reader,
                              open_checkpoint(files_, snapshots.front()));
      RUBATO_ASSIGN_OR_RETURN(notes_, RunNotes::from_map(snapshots.front(), reader.meta().notes));
    }
    notes_.phase = RunPhase::kTrain;
    notes_.vocabulary = built_.workload->vocabulary_digest();
    RUBATO_ASSIGN_OR_RETURN(const JsonlOffset end,
                            keep_evaluations(files_, directory_, notes_.offset));
    RUBATO_ASSIGN_OR_RETURN(JsonlSink sink, JsonlSink::open(files_, directory_));
    jsonl_.emplace(std::move(sink));
    RUBATO_RETURN_IF_ERROR(jsonl_->truncate_to(end));
    recorder_.emplace(&*jsonl_, nullptr);
    RecordLog log;
    for (const std::string& path : {metrics_path(directory_), events_path(directory_)}) {
      RUBATO_ASSIGN_OR_RETURN(const std::string text, files_.read_file(path));
      RUBATO_RETURN_IF_ERROR(read_records(path, text, log));
    }
    recorder_->restore(std::move(log), std::nullopt);
    return absl::OkStatus();
  }

  // What the workers start from: initial parameters, or those of the pretraining that the recipe
  // asks for. It is made here, as `rubato train` makes it, and goes on where a crash left it.
  StatusOr<std::vector<float>> initial_parameters() {
    if (is_opaque()) return read_model_parameters(files_, directory_);
    if (!recipe_->has("pretrain.steps")) {
      std::vector<float> theta(static_cast<size_t>(built_.workload->layout().size()));
      RUBATO_RETURN_IF_ERROR(
          start_parameters(&files_, *recipe_, *built_.workload, flags_.init, theta));
      return theta;
    }
    RUBATO_ASSIGN_OR_RETURN(const Recipe base, load_recipe(flags_));
    RUBATO_ASSIGN_OR_RETURN(const Recipe pretraining, recipe_for_method(base, "pretrained"));
    RunEnvironment environment = run_environment(files_, pretraining, flags_, terminal_,
                                                 log_.is_json() ? nullptr : &progress_);
    environment.directory = join_path(directory_, "pretraining");
    environment.resume = true;
    environment.stop = stop_;
    RUBATO_ASSIGN_OR_RETURN(RunResult result, run_recipe(pretraining, *built_.workload,
                                                         built_.data_digest, environment));
    if (!result.diverged.empty()) return absl::AbortedError(result.diverged);
    if (result.interrupted) return absl::CancelledError("[coordinator] stopped while pretraining");
    return std::move(result.theta);
  }

  Status open_cluster() {
    const int threads = thread_count(flags_.threads);
    ClusterServices services{
        .files = &files_,
        .clock = monotonic_now,
        .sink = &*recorder_,
        .evaluate =
            [this, threads](std::span<const float> theta) {
              return built_.workload->evaluate(theta, threads);
            },
        .note = [this](const Notice& notice) { log_.write(notice); },
        .stop_evaluation = [this] { built_.workload->stop_evaluating(); },
        .snapshot_notes = [this]() -> StatusOr<std::map<std::string, std::string>> {
          RUBATO_ASSIGN_OR_RETURN(notes_.offset, jsonl_->offset());
          return notes_.to_map();
        }};
    if (is_opaque()) services.evaluate = nullptr;
    RUBATO_ASSIGN_OR_RETURN(cluster_,
                            Cluster::open(setup_.cluster, services, built_.workload->layout(),
                                          [this] { return initial_parameters(); }));
    say_recovered();
    RUBATO_ASSIGN_OR_RETURN(reception_, Reception::make(*cluster_, setup_.reception));
    return absl::OkStatus();
  }

  Status open_admission() {
    RUBATO_ASSIGN_OR_RETURN(admission_, Admission::open(files_, directory_));
    if (given_) {
      gatekeeper_.emplace(*admission_, unix_now_s);
      return absl::OkStatus();
    }
    RUBATO_ASSIGN_OR_RETURN(Authority authority,
                            Authority::create_or_load(files_, directory_, unix_now_s()));
    authority_.emplace(std::move(authority));
    gatekeeper_.emplace(*authority_, *admission_, flags_.insecure, unix_now_s,
                        static_cast<int64_t>(flags_.certificate_hours * 3600));
    return absl::OkStatus();
  }

  void say_recovered() {
    const int64_t records = cluster_->recovered_records();
    if (records > 0) {
      log_.write({.event = "recovered",
                  .text = cat("recovered ", records, " events behind the last snapshot"),
                  .facts = {{"events", records}}});
    }
    if (!cluster_->status().paused()) return;
    log_.write({.level = Notice::Level::kWarning,
                .event = "paused",
                .text = cat("the run is paused; rubato control ", directory_, " resume goes on"),
                .facts = {}});
  }

  Status listen() {
    RUBATO_RETURN_IF_ERROR(listen_with(*reception_));
    RUBATO_ASSIGN_OR_RETURN(
        operation_, Operation::begin(files_, directory_, flags_.http, *cluster_, *admission_));
    return absl::OkStatus();
  }

  Status listen_with(Desk& desk) {
    ServerConfig config;
    config.listen = to_text(address_);
    if (given_) {
      config.certificate_pem = given_->certificate_pem;
      config.key_pem = given_->key_pem.reveal();
      config.ca_pem = given_->authority_pem;
      config.wants_certificate = true;
    } else if (!flags_.insecure) {
      std::vector<std::string> hosts = flags_.hosts;
      if (is_host(address_.host)) hosts.push_back(address_.host);
      RUBATO_ASSIGN_OR_RETURN(const ServerIdentity identity,
                              authority_->issue_server(hosts, unix_now_s()));
      config.certificate_pem = identity.chain;
      config.key_pem = identity.private_key.reveal();
      config.ca_pem = authority_->certificate_pem();
    }
    allow_many_connections();
    RUBATO_ASSIGN_OR_RETURN(server_, listen_grpc(config, desk, *gatekeeper_));
    address_.port = server_->port();
    // Where `rubato invite` finds out what to write into a join string.
    RUBATO_RETURN_IF_ERROR(
        files_.replace_file(join_path(directory_, "address"), to_text(address_) + "\n"));
    log_.write(
        {.event = "listening",
         .text =
             cat("listening at ", to_text(address_),
                 given_ ? cat("; rubato worker HOST:", address_.port,
                              " --tls-cert .. joins with a certificate of ", flags_.tls.authority)
                        : cat("; rubato invite ", directory_, " makes a join string for a worker")),
         .facts = {{"address", to_text(address_)}}});
    return absl::OkStatus();
  }

  void say_stopped() {
    log_.write({.event = "stopped",
                .text = cat("stopped; the same command goes on from ", directory_),
                .facts = {}});
  }

  StatusOr<int> conclude(bool finished) {
    RunData data;
    data.log = recorder_->log();
    data.recipe = recipe_->to_toml();
    data.summary = summarise(data.log);
    RunSummary& summary = data.summary;
    summary.build_id = build_id();
    summary.data_digest = built_.data_digest;
    summary.recipe_digest = recipe_->digest();
    summary.method = recipe_->text("run.method");
    summary.seed = static_cast<uint64_t>(recipe_->integer("run.seed"));
    summary.finished = finished;
    summary.workers = static_cast<int64_t>(summary.per_worker.size());
    summary.params_digest = digest_of(cluster_->theta());
    if (is_opaque()) {
      // No evaluation tells it; a cluster's clock is the wall's.
      summary.wall_time_s = summary.virtual_time_s;
      if (summary.wall_time_s > 0)
        summary.train_tokens_per_s = static_cast<double>(summary.tokens) / summary.wall_time_s;
    }
    progress_.finish();
    if (finished) {
      RUBATO_RETURN_IF_ERROR(write_summary(files_, directory_, summary));
      RUBATO_RETURN_IF_ERROR(write_report(files_, join_path(directory_, "report.html"),
                                          cat("Rubato: ", summary.method), std::span(&data, 1)));
      terminal_.out << to_plain_text(comparison_table(std::span(&summary, 1)))
                    << to_plain_text(contribution_table(summary))
                    << "report: " << join_path(directory_, "report.html") << "\n";
    }
    terminal_.out << "state " << cluster_->state_digest() << ", effects "
                  << cluster_->effects_digest() << "\n";
    if (!finished) say_stopped();
    if (flags_.json) terminal_.out << to_line(summary) << "\n";
    return kExitOk;
  }

  const CoordinatorFlags& flags_;
  Terminal& terminal_;
  ProgressPrinter progress_;
  Log log_;
  PosixFileSystem files_;
  const std::atomic<bool>* stop_ = nullptr;
  std::string directory_;
  Address address_;
  std::optional<Recipe> recipe_;
  BuiltWorkload built_;
  ClusterSetup setup_;
  DirectoryLock lock_;
  RunNotes notes_;
  std::optional<JsonlSink> jsonl_;
  std::optional<RunRecorder> recorder_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Reception> reception_;
  std::optional<GivenIdentity> given_;  // of another PKI, or
  std::optional<Authority> authority_;  // the run's own
  std::unique_ptr<Admission> admission_;
  std::optional<Gatekeeper> gatekeeper_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<Operation> operation_;
};

}  // namespace

void add_coordinator(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<CoordinatorFlags>();
  CLI::App* command = app.add_subcommand("coordinator", "a real cluster: the server");
  add_training_flags(*command, *flags);
  command->add_option("--out", flags->out,
                      "run directory; default runs/NAME-cluster; goes on there");
  command->add_option("--listen", flags->listen, "HOST:PORT; port 0: any that is free");
  command->add_option("--host", flags->hosts,
                      "another name or address of this machine; repeatable");
  command->add_option("--start-workers", flags->start_workers, "training begins with so many")
      ->check(CLI::Range(1, 100000));
  command->add_option("--lease", flags->lease_s, "seconds of silence after which a worker is lost")
      ->check(number_in(1, 86400));
  command->add_flag("--keep-deltas", flags->keep_deltas, "for rubato replay from the beginning");
  command->add_flag("--virtual-clock", flags->virtual_clock,
                    "durations are the recipe's: the history that rubato train makes");
  command
      ->add_option("--spool-gib", flags->spool_gib,
                   "uploads may take so much of the disk, further ones wait; default: what is free")
      ->check(number_in(0.001, 1e6));
  command->add_option(
      "--http", flags->http,
      "[HOST:]PORT of dashboard, /healthz, /metrics; without a host this machine only");
  command
      ->add_option("--certificate-hours", flags->certificate_hours,
                   "life of a worker's certificate; it asks for the next one in time")
      ->check(number_in(0.001, 90 * 24));
  add_log_flags(*command, flags->log);
  command->add_flag("--insecure", flags->insecure, "plain text instead of TLS");
  add_tls_flags(*command, flags->tls, "--insecure");
  command->footer(
      "Example:\n  rubato coordinator recipes/demo.toml --listen 0.0.0.0:7461 --host my.machine\n"
      "  rubato invite runs/demo-cluster\n"
      "Ctrl-C or SIGTERM: everything is on disk; the same command goes on.");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return CoordinatorProcess(*flags, terminal).run(); };
  });
}

}  // namespace rubato
