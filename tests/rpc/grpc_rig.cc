#include "tests/rpc/grpc_rig.h"

#include <chrono>
#include <ctime>
#include <fstream>

#include <unistd.h>

#include "rubato/rpc/wire.h"

namespace rubato {

GrpcRig::GrpcRig(GrpcRigOptions options) : peers_(std::move(options.peers)) {
  authority_ =
      std::make_unique<Authority>(Authority::create_or_load(peers_.files(), "/run", now()).value());
  admission_ = Admission::open(peers_.files(), "/run").value();
  gatekeeper_ =
      std::make_unique<Gatekeeper>(*authority_, *admission_, false, [this] { return now(); });
  const ServerIdentity identity = authority_->issue_server({}, now()).value();
  options.server.listen = "127.0.0.1:0";
  options.server.certificate_pem = identity.chain;
  options.server.key_pem = identity.private_key.reveal();
  options.server.ca_pem = authority_->certificate_pem();
  auto server = listen_grpc(options.server, peers_.reception(), *gatekeeper_);
  RUBATO_CHECK(server.ok(), server.status().message());
  server_ = std::move(*server);
}

GrpcRig::~GrpcRig() { peers_.stop().IgnoreError(); }

// TLS looks at the machine's own clock.
int64_t GrpcRig::now() const { return std::time(nullptr) + offset_s_; }

std::string GrpcRig::address() const { return cat("127.0.0.1:", port()); }

std::string GrpcRig::invite() {
  return admission_->invite(now(), 3600, "a test").value().secret.reveal();
}

LinkConfig GrpcRig::stranger() const {
  LinkConfig config;
  config.address = address();
  config.ca_pem = authority_->certificate_pem();
  return config;
}

LinkConfig GrpcRig::enrolled() {
  LinkConfig config = stranger();
  const PrivateKey key = PrivateKey::make().value();
  v1::EnrolRequest request;
  request.set_secret(invite());
  request.set_csr_pem(key.request_pem().value());
  const auto reply = enrol_over_grpc(config, request);
  RUBATO_CHECK(reply.ok(), reply.status().message());
  config.certificate_pem = reply->certificate_pem();
  config.key_pem = key.pem().value().reveal();
  config.worker = reply->worker();
  return config;
}

LinkConfig GrpcRig::certified(const Authority& authority, WorkerId worker,
                              int64_t now_unix_s) const {
  LinkConfig config = stranger();
  const PrivateKey key = PrivateKey::make().value();
  config.certificate_pem =
      authority.sign_worker(key.request_pem().value(), worker, now_unix_s).value().pem;
  config.key_pem = key.pem().value().reveal();
  config.worker = worker.value();
  return config;
}

// ---- the honest worker

HonestWorker::HonestWorker(GrpcRig& rig) : rig_(rig), link_(make_grpc_link(rig.enrolled())) {
  thread_ = std::thread([this] { work(); });
}

HonestWorker::~HonestWorker() {
  stop_ = true;
  thread_.join();
}

void HonestWorker::work() {
  while (!stop_) attend_once().IgnoreError();
}

// Until the connection breaks, which happens to the best.
Status HonestWorker::attend_once() {
  RUBATO_ASSIGN_OR_RETURN(const auto stream, link_->attend(rig_.peers().hello()));
  while (const std::optional<v1::ToWorker> message = stream->next()) {
    v1::Task task;
    if (message->has_dispatch()) task = message->dispatch().task();
    if (message->has_welcome() && message->welcome().tasks_size() > 0)
      task = message->welcome().tasks(0);
    if (stop_) stream->cancel();
    if (task.steps() == 0) continue;
    v1::FetchRequest request;
    request.set_version(task.fragments(0).base_version());
    request.mutable_codec()->set_name("fp32");
    int64_t bytes = 0;
    RUBATO_RETURN_IF_ERROR(link_->fetch(request, [&](const Chunk& chunk) {
      bytes += chunk.bytes();
      return absl::OkStatus();
    }));
    const PeerDelta delta = rig_.peers().delta(task);
    if (bytes != std::ssize(delta.encoded)) return absl::DataLossError("[test] too little came");
    bool is_sent = false;
    RUBATO_ASSIGN_OR_RETURN(const v1::PushReply reply, link_->push(delta.header, [&](Chunk& chunk) {
      if (std::exchange(is_sent, true)) return false;
      chunk = PeerRig::chunk_of(delta.encoded, 0, bytes);
      return true;
    }));
    applied_ += reply.verdict() == v1::PushReply::VERDICT_APPLIED;
  }
  return stream->finish();
}

bool HonestWorker::gets_done(int64_t more) const {
  const int64_t before = applied_;
  return wait_until([&] { return applied_ >= before + more; });
}

// ---- looking

bool wait_until(const std::function<bool()>& is_so) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

int64_t thread_count() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Threads:")) return std::stoll(line.substr(8));
  }
  return 0;
}

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace rubato
