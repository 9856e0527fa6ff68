// rubato worker JOIN-STRING
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>

#include "rubato/app/build_id.h"
#include "rubato/app/cluster_setup.h"
#include "rubato/app/command_support.h"
#include "rubato/app/island_setup.h"
#include "rubato/app/log.h"
#include "rubato/app/tls_flags.h"
#include "rubato/app/worker_notices.h"
#include "rubato/base/digest.h"
#include "rubato/island/island.h"
#include "rubato/lm/arena.h"
#include "rubato/rpc/grpc_link.h"
#include "rubato/rpc/join_string.h"
#include "rubato/rpc/pinned_fetch.h"
#include "rubato/rpc/renewing_link.h"
#include "rubato/rpc/wire.h"
#include "rubato/rpc/worker_key.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct WorkerFlags {
  std::string join, join_file, directory, data;
  int threads = 0;
  double memory_gib = 0;
  double min_step_s = 0;
  double patience_s = 3600;
  bool insecure = false, enrol_only = false;
  GivenFiles tls;
  LogFlags log;
};

constexpr int64_t kProbeTimeoutMs = 10'000;

class WorkerProcess {
 public:
  /// `island`: to the other ranks of the worker whose rank 0 this process is; nullptr: it is alone.
  WorkerProcess(const WorkerFlags& flags, Terminal& terminal, IslandLink* island)
      : flags_(flags),
        terminal_(terminal),
        island_(island),
        log_(flags.log, terminal.err, nullptr) {
    if (island_ != nullptr) leader_.emplace(*island_);
  }

  StatusOr<int> run() {
    environment_.clock = monotonic_now;
    environment_.note = [this](const Notice& notice) { log_.write(notice); };
    environment_.patience = from_seconds(flags_.patience_s);
    environment_.pacer = std::make_shared<LinkPacer>(monotonic_now);
    if (terminal_.watch_interrupts) environment_.stop = terminal_.watch_interrupts();
    RUBATO_RETURN_IF_ERROR(read_join());
    RUBATO_RETURN_IF_ERROR(files_.make_directories(directory_));
    RUBATO_ASSIGN_OR_RETURN(lock_, files_.lock_directory(directory_));
    if (!given_) RUBATO_RETURN_IF_ERROR(become_known());
    if (flags_.enrol_only) return kExitOk;
    const std::unique_ptr<CoordinatorLink> link = make_link();
    RUBATO_ASSIGN_OR_RETURN(v1::RunDescription run, describe_patiently(*link));
    if (given_) RUBATO_RETURN_IF_ERROR(take_number(run));
    for (;;) {
      RUBATO_RETURN_IF_ERROR(prepare(*link, run));
      const Status end = train(*link, run);
      if (end.ok()) return kExitOk;
      if (!absl::IsFailedPrecondition(end)) return end;
      RUBATO_ASSIGN_OR_RETURN(v1::RunDescription now, describe_patiently(*link));
      if (now.run() != run.run() || now.incarnation() == run.incarnation()) return end;
      log_.write({.level = Notice::Level::kWarning,
                  .event = "rolled-back",
                  .text = cat("the run was rolled back, ", now.incarnation(),
                              " times by now: begins anew"),
                  .facts = {{"incarnation", now.incarnation()}}});
      run = std::move(now);
    }
  }

 private:
  // With an identity of another PKI an address is all there is to know.
  Status read_address() {
    if (flags_.join.empty() || !flags_.join_file.empty() || flags_.enrol_only) {
      return absl::InvalidArgumentError(
          "[worker] with --tls-cert want the coordinator's HOST:PORT, and no join string, "
          "--join-file or --enrol-only");
    }
    RUBATO_ASSIGN_OR_RETURN(const Address address, parse_address(flags_.join));
    RUBATO_RETURN_IF_ERROR(load_given());
    link_config_.address = to_text(address);
    link_config_.server_name.clear();
    // The same key finds the same worker again.
    directory_ =
        flags_.directory.empty()
            ? join_path("workers",
                        digest_of(std::string_view(link_config_.address + given_->key_digest))
                            .substr(0, 12))
            : flags_.directory;
    return absl::OkStatus();
  }

  Status load_given() {
    RUBATO_ASSIGN_OR_RETURN(
        given_, load_given_identity(files_, flags_.tls, CertificateRole::kClient, unix_now_s()));
    link_config_.ca_pem = given_->authority_pem;
    link_config_.certificate_pem = given_->certificate_pem;
    link_config_.key_pem = given_->key_pem.reveal();
    return absl::OkStatus();
  }

  // Who we are is the coordinator's to say.
  Status take_number(const v1::RunDescription& run) {
    if (run.worker() < 0)
      return absl::InvalidArgumentError(
          cat("[worker] got number ", run.worker(), " from the coordinator, want 0 or more"));
    worker_ = WorkerId(run.worker());
    log_.write({.event = "known",
                .text = cat("worker ", worker_, " of ", link_config_.address, ", in ", directory_),
                .facts = {{"worker", worker_.value()}}});
    return absl::OkStatus();
  }

  Status read_join() {
    RUBATO_RETURN_IF_ERROR(check_given_files(flags_.tls));
    if (flags_.tls.given()) return read_address();
    if (flags_.join.empty() == flags_.join_file.empty()) {
      return absl::InvalidArgumentError(
          "[worker] want a join string or --join-file, one of the two; rubato invite makes it");
    }
    if (flags_.join_file == "-") {
      RUBATO_ASSIGN_OR_RETURN(join_, read_join_line(std::cin));
    } else if (!flags_.join_file.empty()) {
      RUBATO_ASSIGN_OR_RETURN(const JoinFile file, read_join_file(files_, flags_.join_file));
      if (!file.warning.ok()) {
        log_.write({.level = Notice::Level::kWarning,
                    .event = "insecure",
                    .text = std::string(file.warning.message()),
                    .facts = {}});
      }
      join_ = file.join;
    } else {
      RUBATO_ASSIGN_OR_RETURN(join_, parse_join_string(flags_.join));
    }
    // The same string finds the same worker again.
    directory_ =
        flags_.directory.empty()
            ? join_path("workers",
                        digest_of(std::string_view(join_.fingerprint + join_.secret.reveal()))
                            .substr(0, 12))
            : flags_.directory;
    return absl::OkStatus();
  }

  // Key, certificate and authority: from the directory, or by the secret of the join string.
  Status become_known() {
    RUBATO_ASSIGN_OR_RETURN(WorkerKey key, WorkerKey::create_or_load(files_, directory_));
    key_.emplace(std::move(key));
    RUBATO_ASSIGN_OR_RETURN(const std::optional<WorkerCredentials> before,
                            key_->credentials(files_));
    if (flags_.insecure) {
      RUBATO_ASSIGN_OR_RETURN(const std::optional<WorkerToken> token, key_->token(files_));
      if (token) use_token(*token);
    }
    // A key that has enrolled gets its next certificate without a secret, and may be there before
    // its coordinator is. A newcomer that finds nobody has a wrong address more often than not.
    const auto look = [&, secret = before && !flags_.insecure ? "" : join_.secret.reveal()] {
      return find_coordinator(secret);
    };
    RUBATO_RETURN_IF_ERROR(before || is_enrolled() ? until_answered(environment_, look) : look());
    log_.write({.event = "known",
                .text = cat("worker ", worker_, " of ", join_.redacted(), ", in ", directory_),
                .facts = {{"worker", worker_.value()}}});
    return absl::OkStatus();
  }

  // Tries the addresses of the join string in their order. The secret is shown to nobody but a
  // coordinator of the right fingerprint, whose answer is final.
  Status find_coordinator(std::string_view secret) {
    std::vector<std::string> failures;
    Status status;
    for (const Address& address : join_.addresses) {
      link_config_.address = to_text(address);
      status = flags_.insecure ? absl::OkStatus() : pin_authority(address);
      const bool is_right = status.ok();
      if (is_right && is_enrolled()) status = probe();
      if (is_right && !is_enrolled()) status = get_certificate(secret);
      if (is_right && !absl::IsUnavailable(status)) return status;
      failures.push_back(std::string(status.message()));
    }
    return {status.code(), join(failures, "; ")};
  }

  // With a token, which needs no renewal.
  bool is_enrolled() const { return !link_config_.token.empty(); }
  Status probe() {
    const Status status = describe(*make_grpc_link(link_config_)).status();
    // The coordinator has forgotten it: the join string is what is left.
    if (absl::IsUnauthenticated(status)) link_config_.token.clear();
    return status;
  }

  void use_token(const WorkerToken& token) {
    worker_ = WorkerId(token.worker);
    link_config_.worker = token.worker;
    link_config_.token = token.token.reveal();
  }

  Status pin_authority(const Address& address) {
    RUBATO_ASSIGN_OR_RETURN(
        link_config_.ca_pem,
        fetch_pinned_authority(address, join_.fingerprint, kProbeTimeoutMs, unix_now_s()));
    return absl::OkStatus();
  }

  // From the coordinator, for our key: the first with a secret, every other without.
  Status get_certificate(std::string_view secret) {
    v1::EnrolRequest request;
    RUBATO_ASSIGN_OR_RETURN(*request.mutable_csr_pem(), key_->request_pem());
    request.set_secret(std::string(secret));
    // Whoever shows a certificate must have a valid one; who shows none may ask for one.
    LinkConfig anonymous = link_config_;
    anonymous.certificate_pem.clear();
    anonymous.key_pem.clear();
    RUBATO_ASSIGN_OR_RETURN(const v1::EnrolReply reply, enrol_over_grpc(anonymous, request));
    worker_ = WorkerId(reply.worker());
    if (flags_.insecure) {
      const WorkerToken token{reply.worker(), Secret(reply.token())};
      RUBATO_RETURN_IF_ERROR(key_->keep_token(files_, token));
      use_token(token);
      return absl::OkStatus();
    }
    RUBATO_ASSIGN_OR_RETURN(credentials_, key_->keep(files_, reply.certificate_pem(),
                                                     link_config_.ca_pem, unix_now_s()));
    RUBATO_ASSIGN_OR_RETURN(const Secret private_key, key_->private_key_pem());
    link_config_.certificate_pem = reply.certificate_pem();
    link_config_.key_pem = private_key.reveal();
    return absl::OkStatus();
  }

  // Certificates end while the worker goes on; a token does not.
  std::unique_ptr<CoordinatorLink> make_link() {
    std::unique_ptr<CoordinatorLink> first = make_grpc_link(link_config_);
    if (flags_.insecure) return first;
    return std::make_unique<RenewingLink>(
        std::move(first),
        [this] {
          const int64_t now = unix_now_s();
          return given_ ? given_->renewal_is_due(now) : credentials_.renewal_is_due(now);
        },
        [this]() -> StatusOr<std::unique_ptr<CoordinatorLink>> {
          if (given_) return make_next_given_link();
          if (const Status renewed = get_certificate(""); !renewed.ok()) {
            log_.write({.level = Notice::Level::kWarning,
                        .event = "certificate",
                        .text = cat("no new certificate: ", renewed.message()),
                        .facts = {}});
            return renewed;
          }
          log_.write({.level = Notice::Level::kDebug,
                      .event = "certificate",
                      .text = "a new certificate",
                      .facts = {{"expires_unix_s", credentials_.expires_unix_s}}});
          return make_grpc_link(link_config_);
        });
  }

  // Whoever made the files renews them, too; until then the present certificate is used.
  StatusOr<std::unique_ptr<CoordinatorLink>> make_next_given_link() {
    const int64_t expires = given_->expires_unix_s;
    const StatusOr<GivenIdentity> next =
        load_given_identity(files_, flags_.tls, CertificateRole::kClient, unix_now_s());
    RUBATO_RETURN_IF_ERROR(next.status());
    if (next->expires_unix_s <= expires)
      return absl::NotFoundError("[worker] got no newer certificate, want one in time");
    // Another key is another worker: whoever starts this one again makes it that.
    if (next->key_digest != given_->key_digest)
      return absl::FailedPreconditionError("[worker] got another key, want the same one");
    RUBATO_RETURN_IF_ERROR(load_given());
    log_.write({.level = Notice::Level::kDebug,
                .event = "certificate",
                .text = "a new certificate",
                .facts = {{"expires_unix_s", given_->expires_unix_s}}});
    return make_grpc_link(link_config_);
  }

  StatusOr<v1::RunDescription> describe(CoordinatorLink& link) {
    memory_bytes_ = flags_.memory_gib > 0
                        ? static_cast<int64_t>(flags_.memory_gib * (int64_t{1} << 30))
                        : std::max<int64_t>(available_memory_bytes(), 0);
    v1::DescribeRequest request;
    request.mutable_protocol()->set_first(kProtocolFirst);
    request.mutable_protocol()->set_last(kProtocolLast);
    request.set_build(build_id());
    request.set_memory_bytes(memory_bytes_);
    RUBATO_ASSIGN_OR_RETURN(v1::RunDescription run, link.describe(request));
    RUBATO_RETURN_IF_ERROR(check_description(run));
    if (!run.wants_model()) return run;
    return absl::FailedPreconditionError(
        "[worker] got a run of an opaque model, want one of this program's; its workers are "
        "programs of their own (docs/workers.md)");
  }

  StatusOr<v1::RunDescription> describe_patiently(CoordinatorLink& link) {
    StatusOr<v1::RunDescription> run;
    const auto ask = [&] { return (run = describe(link)).status(); };
    RUBATO_RETURN_IF_ERROR(until_answered(environment_, ask));
    return run;
  }

  // Data and model, as the coordinator describes them.
  Status prepare(CoordinatorLink& link, const v1::RunDescription& run) {
    std::string data = flags_.data;
    if (data.empty() && run.files_size() > 0) {
      data = join_path(directory_, cat("data-", run.data_digest().substr(0, 12)));
      Courier courier(link, environment_);
      for (const v1::RunFile& file : run.files()) {
        RUBATO_RETURN_IF_ERROR(courier.fetch_file(file, files_, join_path(data, file.name())));
      }
    }
    RUBATO_ASSIGN_OR_RETURN(Recipe recipe, recipe_of_description(run, data));
    recipe_.emplace(std::move(recipe));
    RUBATO_RETURN_IF_ERROR(check_processor(*recipe_));
    threads_ = thread_count(flags_.threads);
    RUBATO_ASSIGN_OR_RETURN(built_, build_workload(*recipe_, threads_));
    if (built_.data_digest != run.data_digest()) {
      return absl::FailedPreconditionError(cat("[worker] ", data, ": got data of digest ",
                                               built_.data_digest, ", want ", run.data_digest(),
                                               "; leave --data out to receive it"));
    }
    return leader_ ? gather_island(run, data) : absl::OkStatus();
  }

  // From here on every local step is the whole island's.
  Status gather_island(const v1::RunDescription& run, const std::string& data) {
    // What --data names lies there on every machine; what came from the coordinator came to this
    // one.
    for (const v1::RunFile& file : run.files()) {
      if (!flags_.data.empty()) break;
      RUBATO_RETURN_IF_ERROR(
          leader_->share_file(files_, {join_path(data, file.name()), file.bytes(), file.digest()}));
    }
    RUBATO_RETURN_IF_ERROR(leader_->introduce(island_introduction(run, data)));
    built_.workload = leader_->share(std::move(built_.workload));
    log_.write(island_notice(island_->size(), threads_));
    return absl::OkStatus();
  }

  Status train(CoordinatorLink& link, const v1::RunDescription& run) {
    RUBATO_ASSIGN_OR_RETURN(const SimulationConfig training, training_config(*recipe_, threads_));
    const DataMap data(built_.workload->shard_sequences(), training.merged_data,
                       training.coordinator.seed);
    WorkerConfig config{.worker = worker_,
                        .run = run,
                        .settings = training.worker,
                        .overlap = training.coordinator.overlap,
                        .threads = threads_,
                        .memory_bytes = memory_bytes_,
                        .ns_per_step = 0,
                        .min_step_ns = from_seconds(flags_.min_step_s),
                        // On the virtual clock a worker that comes back has nothing, as simulated.
                        .state_directory = run.virtual_clock() ? "" : directory_};
    config.run.set_build(build_id());
    if (!run.virtual_clock()) {
      RUBATO_ASSIGN_OR_RETURN(
          const Nanos measured,
          calibrate_step(*built_.workload, training.worker, data, threads_, monotonic_now));
      config.ns_per_step = std::max(measured, config.min_step_ns);
      log_.write(calibrated_notice(config.ns_per_step));
    }
    return work(config,
                {.link = &link,
                 .files = &files_,
                 .workload = built_.workload.get(),
                 .data = &data,
                 .environment = environment_,
                 .report = [this](const TaskReport& report) { log_.write(task_notice(report)); }});
  }

  const WorkerFlags& flags_;
  Terminal& terminal_;
  IslandLink* island_;
  std::optional<IslandLeader> leader_;
  Log log_;
  PosixFileSystem files_;
  WorkerEnvironment environment_;
  JoinString join_;
  std::string directory_;
  DirectoryLock lock_;
  std::optional<WorkerKey> key_;
  LinkConfig link_config_;
  std::optional<GivenIdentity> given_;  // of another PKI, or
  WorkerCredentials credentials_;       // of the run's own
  WorkerId worker_;
  int64_t memory_bytes_ = 0;
  int threads_ = 1;
  std::optional<Recipe> recipe_;
  BuiltWorkload built_;
};

StatusOr<int> run_worker(const WorkerFlags& flags, Terminal& terminal) {
  RUBATO_ASSIGN_OR_RETURN(const std::unique_ptr<IslandLink> island, find_island(terminal));
  if (island != nullptr && island->rank() > 0)
    return serve_as_member(*island, terminal, flags.threads);
  return WorkerProcess(flags, terminal, island.get()).run();
}

}  // namespace

void add_worker(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<WorkerFlags>();
  CLI::App* command = app.add_subcommand("worker", "a real cluster: a worker; needs a join string");
  command->add_option("join", flags->join,
                      "what rubato invite printed; with --tls-cert the coordinator's HOST:PORT");
  command->add_option("--join-file", flags->join_file,
                      "the string in a file, or -: in no list of processes");
  command->add_option("--dir", flags->directory,
                      "identity, data and inner state; default workers/ID of the string");
  command->add_option("--data", flags->data, "prepared text of the same digest, already here");
  command->add_option("--threads", flags->threads, "0: all cores; never changes a result")
      ->check(CLI::Range(0, 1024));
  command->add_option("--memory-gib", flags->memory_gib, "may be used; default: what is free")
      ->check(number_in(0, 1e6));
  command->add_option("--min-step-s", flags->min_step_s, "a local step takes at least so long")
      ->check(number_in(0, 1e6));
  command
      ->add_option("--patience-s", flags->patience_s,
                   "without an answer from the coordinator, before it gives up")
      ->check(number_in(1, 1e8));
  command->add_flag("--enrol-only", flags->enrol_only,
                    "use the string up for an identity in --dir, and work later");
  command->add_flag("--insecure", flags->insecure, "plain text instead of TLS");
  add_tls_flags(*command, flags->tls, "--insecure");
  add_log_flags(*command, flags->log);
  command->footer(
      "Example:\n  rubato worker rubato1/my.machine:7461/..\n"
      "Ctrl-C or SIGTERM: the steps that are done are handed in, the rest goes back in line.\n"
      "One worker of several processes or machines, each with a part of every batch:\n"
      "  mpirun -n 2 --bind-to none rubato worker rubato1/my.machine:7461/..");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return run_worker(*flags, terminal); };
  });
}

}  // namespace rubato
