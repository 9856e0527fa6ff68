#include "rubato/bench/exchange_server.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <utility>

#include <unistd.h>

#include "rubato/base/layout.h"
#include "rubato/bench/bare_tcp.h"
#include "rubato/bench/forked.h"
#include "rubato/bench/timing.h"
#include "rubato/metrics/sink.h"
#include "rubato/rpc/bare_stream.h"
#include "rubato/rpc/enrolment.h"
#include "rubato/rpc/grpc_service.h"
#include "rubato/rpc/reception.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

constexpr char kAnyPort[] = "127.0.0.1:0";
constexpr int64_t kEndless = int64_t{1} << 40;

// Tells the board when a file is complete: the spool syncs an upload once its last byte is in it.
class WatchedFile final : public WritableFile {
 public:
  WatchedFile(std::unique_ptr<WritableFile> file, ExchangeBoard& board)
      : file_(std::move(file)), board_(board) {}
  Status append(std::string_view bytes) override { return file_->append(bytes); }
  Status sync() override {
    board_.arrived_ns = now_ns();
    board_.arrived_cpu_ns = cpu_ns(::getpid());
    return file_->sync();
  }
  Status truncate(int64_t size) override { return file_->truncate(size); }
  Status close() override { return file_->close(); }

 private:
  std::unique_ptr<WritableFile> file_;
  ExchangeBoard& board_;
};

class WatchedFileSystem final : public PosixFileSystem {
 public:
  explicit WatchedFileSystem(ExchangeBoard& board) : board_(board) {}
  StatusOr<std::unique_ptr<WritableFile>> create(const std::string& path) override {
    return watched(path, PosixFileSystem::create(path));
  }
  StatusOr<std::unique_ptr<WritableFile>> open_append(const std::string& path) override {
    return watched(path, PosixFileSystem::open_append(path));
  }

 private:
  StatusOr<std::unique_ptr<WritableFile>> watched(const std::string& path,
                                                  StatusOr<std::unique_ptr<WritableFile>> file) {
    if (!file.ok() || !path.ends_with(".part")) return file;
    return std::make_unique<WatchedFile>(std::move(*file), board_);
  }
  ExchangeBoard& board_;
};

// Nesterov: one plane of outer state. In rounds, so that the outer update and the next version come
// when all deltas are there: they have a benchmark of their own.
ClusterConfig cluster_config(const ExchangeSetting& setting) {
  ClusterConfig config;
  config.directory = setting.directory;
  config.build_id = "bench";
  config.digests = {.recipe = "bench", .data = "bench", .layout = "bench"};
  CoordinatorConfig& coordinator = config.machine.coordinator;
  coordinator.local_steps = 1;
  coordinator.budget_steps = coordinator.schedule_steps = kEndless;
  config.machine.gate = {"barrier", {}};
  config.machine.chain = {.links = {}, .rule = "nesterov", .options = {}};
  config.machine.num_workers = setting.workers;
  config.machine.up_codec = {setting.up_codec, {}};
  config.machine.down_codec = {setting.down_codec, {}};
  config.shard_sequences = {kEndless};
  config.lease = 3600 * kNanosPerSecond;
  config.start_workers = setting.workers;
  return config;
}

}  // namespace

void report_failure(ExchangeBoard& board, const Status& status) {
  if (board.failed.exchange(true)) return;
  const std::string words(status.message());
  std::snprintf(board.words, sizeof board.words, "%s", words.c_str());
}

StatusOr<std::vector<LinkConfig>> make_identities(const ExchangeSetting& setting) {
  PosixFileSystem files;
  const int64_t now = setting.now_unix_s;
  RUBATO_RETURN_IF_ERROR(files.make_directories(setting.directory));
  RUBATO_ASSIGN_OR_RETURN(const Authority authority,
                          Authority::create_or_load(files, setting.directory, now));
  RUBATO_ASSIGN_OR_RETURN(const auto admission, Admission::open(files, setting.directory));
  std::vector<LinkConfig> identities;
  for (int i = 0; i < setting.workers; ++i) {
    RUBATO_ASSIGN_OR_RETURN(const auto invited, admission->invite(now, kDayS, "bench"));
    RUBATO_ASSIGN_OR_RETURN(const PrivateKey key, PrivateKey::make());
    RUBATO_ASSIGN_OR_RETURN(const std::string request, key.request_pem());
    RUBATO_ASSIGN_OR_RETURN(
        const Enrolled enrolled,
        enrol_worker(authority, *admission, invited.secret.reveal(), request, now));
    LinkConfig& identity = identities.emplace_back();
    identity.worker = enrolled.worker.value();
    if (!setting.tls) {
      RUBATO_ASSIGN_OR_RETURN(const Secret token, admission->draw_token(enrolled.worker));
      identity.token = token.reveal();
      continue;
    }
    RUBATO_ASSIGN_OR_RETURN(const Secret secret, key.pem());
    identity.ca_pem = authority.certificate_pem();
    identity.certificate_pem = enrolled.certificate.pem;
    identity.key_pem = secret.reveal();
  }
  return identities;
}

Status serve_exchange(const ExchangeSetting& setting, ExchangeBoard& board) {
  WatchedFileSystem files(board);
  Layout layout;
  layout.add("bench.weight", {setting.num_params}, TensorRole::kMatrix);
  MemorySink sink;
  const ClusterServices services{.files = &files,
                                 .clock = now_ns,
                                 .sink = &sink,
                                 .evaluate = nullptr,
                                 .note = [](const Notice&) {},
                                 .stop_evaluation = nullptr,
                                 .snapshot_notes = nullptr};
  RUBATO_ASSIGN_OR_RETURN(const auto cluster,
                          Cluster::open(cluster_config(setting), services, layout, [&] {
                            return StatusOr<std::vector<float>>(
                                std::vector<float>(static_cast<size_t>(setting.num_params), 0.5f));
                          }));
  RUBATO_ASSIGN_OR_RETURN(const auto reception, Reception::make(*cluster, {}));
  RUBATO_ASSIGN_OR_RETURN(const Authority authority,
                          Authority::create_or_load(files, setting.directory, setting.now_unix_s));
  RUBATO_ASSIGN_OR_RETURN(const auto admission, Admission::open(files, setting.directory));
  Gatekeeper gatekeeper(authority, *admission, !setting.tls, [&] { return setting.now_unix_s; });
  ServerConfig config;
  config.listen = kAnyPort;
  if (setting.tls) {
    RUBATO_ASSIGN_OR_RETURN(const ServerIdentity identity,
                            authority.issue_server({"127.0.0.1"}, setting.now_unix_s));
    config.certificate_pem = identity.chain;
    config.key_pem = identity.private_key.reveal();
    config.ca_pem = authority.certificate_pem();
  }
  RUBATO_ASSIGN_OR_RETURN(const auto bare, listen_bare(config));
  RUBATO_ASSIGN_OR_RETURN(const auto tcp, TcpServer::listen());
  RUBATO_ASSIGN_OR_RETURN(const auto server, listen_grpc(config, *reception, gatekeeper));
  board.bare_port = bare->port();
  board.tcp_port = tcp->port();
  board.port = server->port();
  return cluster->run(&board.stop).status();
}

}  // namespace rubato
