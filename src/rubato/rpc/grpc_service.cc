#include "rubato/rpc/grpc_service.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>

#include "rubato/rpc/call_limits.h"
#include "rubato/rpc/chunk_wire.h"
#include "rubato/rpc/founding.h"
#include "rubato/rpc/grpc_status.h"
#include "rubato/rpc/reception.h"
#include "rubato/rpc/transport.h"
#include "rubato/v1/control.grpc.pb.h"
#include "rubato/v1/enrolment.grpc.pb.h"
#include "rubato/v1/exchange.grpc.pb.h"

namespace rubato {
namespace {

// Chunks and descriptions fit with room to spare.
constexpr int kLargestMessageBytes = 4 << 20;
constexpr size_t kGrpcMemoryBytes = size_t{256} << 20;
constexpr int kMostStreamsPerConnection = 16;
constexpr int kMostEnrolments = 8;
constexpr int kIdleConnectionMs = 10 * 60 * 1000;
// Enrolments have no worker yet: they share this one's places.
constexpr WorkerId kNobody(-1);
constexpr auto kGoodbyeTime = std::chrono::milliseconds(500);

std::string metadata(const grpc::ServerContext& context, const char* key) {
  const auto it = context.client_metadata().find(key);
  if (it == context.client_metadata().end()) return "";
  return {it->second.data(), it->second.size()};
}

Caller caller_of(const grpc::ServerContext& context) {
  Caller caller;
  const auto identity =
      context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (!identity.empty()) caller.certificate_pem.assign(identity[0].data(), identity[0].size());
  caller.token = metadata(context, "rubato-token");
  const std::string worker = metadata(context, "rubato-worker");
  if (!worker.empty() && worker.size() < 16 &&
      worker.find_first_not_of("0123456789") == std::string::npos) {
    caller.worker = std::stoll(worker);
  }
  return caller;
}

using Stream = grpc::ServerReaderWriter<v1::ToWorker, v1::FromWorker>;

// What the services share: who may call, and for how long without progress.
class Door {
 public:
  Door(Gatekeeper& gatekeeper, const ServerConfig& config)
      : gatekeeper_(gatekeeper),
        config_(config),
        calls_(config.most_calls_per_worker),
        enrolments_(kMostEnrolments),
        watch_(std::max<Nanos>(config.answer_time / 8, 1)) {}

  Gatekeeper& gatekeeper() { return gatekeeper_; }
  struct Entry {
    WorkerId worker;
    CallGate::Permit permit;  // for as long as the call lasts
  };
  StatusOr<Entry> enter(const grpc::ServerContext& context) {
    RUBATO_ASSIGN_OR_RETURN(const WorkerId worker, gatekeeper_.identify(caller_of(context)));
    RUBATO_ASSIGN_OR_RETURN(CallGate::Permit permit, calls_.enter(worker));
    return Entry{worker, std::move(permit)};
  }
  StatusOr<CallGate::Permit> enter_unknown() { return enrolments_.enter(kNobody); }
  /// Cancels the call unless it is there in time.
  StallWatch::Guard await_answer(grpc::ServerContext& context) {
    return {watch_, config_.answer_time, [&context] { context.TryCancel(); }};
  }
  StallWatch::Guard await_chunks(grpc::ServerContext& context) {
    return {watch_, config_.stall_time, [&context] { context.TryCancel(); }};
  }

 private:
  Gatekeeper& gatekeeper_;
  const ServerConfig config_;
  CallGate calls_, enrolments_;
  StallWatch watch_;
};

class ControlService final : public v1::Control::Service {
 public:
  ControlService(Desk& desk, Door& door) : desk_(desk), door_(door) {}

  grpc::Status Describe(grpc::ServerContext* context, const v1::DescribeRequest* request,
                        v1::RunDescription* reply) override {
    const StatusOr<Door::Entry> entry = door_.enter(*context);
    if (!entry.ok()) return to_grpc(entry.status());
    StatusOr<v1::RunDescription> description = desk_.describe(*request);
    if (description.ok()) {
      *reply = std::move(*description);
      reply->set_worker(entry->worker.value());
    }
    return to_grpc(description.status());
  }

  grpc::Status Attend(grpc::ServerContext* context, Stream* stream) override {
    const StatusOr<Door::Entry> entry = door_.enter(*context);
    if (!entry.ok()) return to_grpc(entry.status());
    v1::FromWorker message;
    {
      const StallWatch::Guard guard = door_.await_answer(*context);
      if (!stream->Read(&message)) return grpc::Status::OK;
    }
    if (!message.has_hello()) {
      return to_grpc(absl::InvalidArgumentError("[session] got no hello, want it first"));
    }
    StatusOr<std::unique_ptr<Session>> session = desk_.attend(entry->worker, message.hello());
    if (!session.ok()) return to_grpc(session.status());
    std::atomic<bool> is_read{true};
    std::thread writer([&] { write(*context, *stream, **session, is_read); });
    Mailbox& box = (*session)->box();
    Status status;
    while (status.ok() && !box.closed() && stream->Read(&message))
      status = (*session)->receive(message);
    is_read = false;
    box.close();
    // The writer may wait for a peer that takes nothing.
    const StallWatch::Guard guard = door_.await_answer(*context);
    writer.join();
    return absl::IsCancelled(status) ? grpc::Status::OK : to_grpc(status);
  }

 private:
  // Until the box is closed or the stream is broken. A closed box ends the session: the reader's
  // Read() returns once the call is cancelled. One that has returned has more to say than that.
  static void write(grpc::ServerContext& context, Stream& stream, Session& session,
                    const std::atomic<bool>& is_read) {
    bool open = stream.Write(session.welcome());
    while (open) {
      const std::optional<v1::ToWorker> message = session.box().take();
      if (!message) break;
      open = stream.Write(*message);
      // What releases the worker is the last word. It ends the stream from its side; one that does
      // not is not waited for.
      if (message->has_release()) std::this_thread::sleep_for(kGoodbyeTime);
    }
    if (is_read) context.TryCancel();
  }

  Desk& desk_;
  Door& door_;
};

// v1.Exchange, registered as the generated service would be, but with chunks as they come.
class ExchangeService final : public grpc::Service {
 public:
  ExchangeService(Desk& desk, Door& door) : desk_(desk), door_(door) {
    using grpc::internal::RpcMethod, grpc::internal::RpcServiceMethod;
    AddMethod(new RpcServiceMethod(
        kFetchMethod, RpcMethod::SERVER_STREAMING,
        new grpc::internal::ServerStreamingHandler<ExchangeService, v1::FetchRequest, Bytes>(
            std::mem_fn(&ExchangeService::fetch), this)));
    AddMethod(new RpcServiceMethod(
        kPushOffsetMethod, RpcMethod::NORMAL_RPC,
        new grpc::internal::RpcMethodHandler<ExchangeService, v1::PushOffsetRequest,
                                             v1::PushOffsetReply>(
            std::mem_fn(&ExchangeService::push_offset), this)));
    AddMethod(new RpcServiceMethod(
        kPushMethod, RpcMethod::CLIENT_STREAMING,
        new grpc::internal::ClientStreamingHandler<ExchangeService, Bytes, v1::PushReply>(
            std::mem_fn(&ExchangeService::push), this)));
    AddMethod(new RpcServiceMethod(
        kFoundMethod, RpcMethod::CLIENT_STREAMING,
        new grpc::internal::ClientStreamingHandler<ExchangeService, Bytes, v1::FoundReply>(
            std::mem_fn(&ExchangeService::found), this)));
  }

 private:
  using Bytes = grpc::ByteBuffer;

  grpc::Status fetch(grpc::ServerContext* context, const v1::FetchRequest* request,
                     grpc::ServerWriter<Bytes>* writer) {
    const StatusOr<Door::Entry> entry = door_.enter(*context);
    if (!entry.ok()) return to_grpc(entry.status());
    StatusOr<rubato::Fetch> fetch = desk_.fetch(entry->worker, *request);
    if (!fetch.ok()) return to_grpc(fetch.status());
    StallWatch::Guard guard = door_.await_chunks(*context);
    for (Chunk chunk; fetch->next(chunk);) {
      if (!writer->Write(to_message(chunk, ChunkForm::kChunk))) return grpc::Status::CANCELLED;
      guard.progress();
    }
    return grpc::Status::OK;
  }

  grpc::Status push_offset(grpc::ServerContext* context, const v1::PushOffsetRequest* request,
                           v1::PushOffsetReply* reply) {
    const StatusOr<Door::Entry> entry = door_.enter(*context);
    if (!entry.ok()) return to_grpc(entry.status());
    StatusOr<v1::PushOffsetReply> offset = desk_.push_offset(entry->worker, *request);
    if (offset.ok()) *reply = *offset;
    return to_grpc(offset.status());
  }

  grpc::Status push(grpc::ServerContext* context, grpc::ServerReader<Bytes>* reader,
                    v1::PushReply* reply) {
    return receive<v1::PushPart>(*context, *reader, *reply,
                                 [this](WorkerId worker, const v1::DeltaHeader& header) {
                                   return desk_.push(worker, header);
                                 });
  }
  grpc::Status found(grpc::ServerContext* context, grpc::ServerReader<Bytes>* reader,
                     v1::FoundReply* reply) {
    return receive<v1::FoundPart>(*context, *reader, *reply,
                                  [this](WorkerId worker, const v1::FoundHeader& header) {
                                    return desk_.found(worker, header);
                                  });
  }

  // A header, then chunks for what `begin` made of it, then its last word. `Part` has the fields of
  // v1.PushPart.
  template <class Part, class Reply, class Begin>
  grpc::Status receive(grpc::ServerContext& context, grpc::ServerReader<Bytes>& reader,
                       Reply& reply, const Begin& begin) {
    const StatusOr<Door::Entry> entry = door_.enter(context);
    if (!entry.ok()) return to_grpc(entry.status());
    Part part;
    {
      const StallWatch::Guard guard = door_.await_answer(context);
      Bytes message;
      if (!reader.Read(&message) ||
          !grpc::SerializationTraits<Part>::Deserialize(&message, &part).ok() ||
          !part.has_header()) {
        return to_grpc(absl::InvalidArgumentError("[push] got no header, want it first"));
      }
    }
    auto upload = begin(entry->worker, part.header());
    if (!upload.ok()) return to_grpc(upload.status());
    if (const Status status = receive_chunks(context, reader, **upload); !status.ok())
      return to_grpc(status);
    // A stream that was cut looks like one that ended: what is missing is found by the commit.
    if (context.IsCancelled()) return grpc::Status::CANCELLED;
    StatusOr<Reply> answer = (*upload)->finish();
    if (answer.ok()) reply = *answer;
    return to_grpc(answer.status());
  }

  static bool wants_more(const rubato::Push& push) { return !push.answer(); }
  static bool wants_more(const Found&) { return true; }

  template <class Upload>
  Status receive_chunks(grpc::ServerContext& context, grpc::ServerReader<Bytes>& reader,
                        Upload& upload) {
    StallWatch::Guard guard = door_.await_chunks(context);
    ChunkReader parser(ChunkForm::kPushPart);
    Bytes message;
    Chunk chunk;
    while (wants_more(upload) && reader.Read(&message)) {
      guard.progress();
      RUBATO_RETURN_IF_ERROR(parser.read(message, chunk));
      RUBATO_RETURN_IF_ERROR(upload.add(chunk));
    }
    return absl::OkStatus();
  }

  Desk& desk_;
  Door& door_;
};

class EnrolmentService final : public v1::Enrolment::Service {
 public:
  explicit EnrolmentService(Door& door) : door_(door) {}

  grpc::Status Enrol(grpc::ServerContext*, const v1::EnrolRequest* request,
                     v1::EnrolReply* reply) override {
    const auto permit = door_.enter_unknown();
    if (!permit.ok()) return to_grpc(permit.status());
    StatusOr<v1::EnrolReply> answer = door_.gatekeeper().enrol(*request);
    if (answer.ok()) *reply = std::move(*answer);
    return to_grpc(answer.status());
  }
  grpc::Status Renew(grpc::ServerContext*, const v1::RenewRequest* request,
                     v1::EnrolReply* reply) override {
    const auto permit = door_.enter_unknown();
    if (!permit.ok()) return to_grpc(permit.status());
    StatusOr<v1::EnrolReply> answer = door_.gatekeeper().renew(*request);
    if (answer.ok()) *reply = std::move(*answer);
    return to_grpc(answer.status());
  }

 private:
  Door& door_;
};

class Server final : public GrpcServer {
 public:
  Server(Desk& desk, Gatekeeper& gatekeeper, const ServerConfig& config)
      : door_(gatekeeper, config),
        control_(desk, door_),
        exchange_(desk, door_),
        enrolment_(door_) {}
  ~Server() override {
    if (!server_) return;
    server_->Shutdown(
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(1, GPR_TIMESPAN)));
    server_->Wait();
  }

  Status listen(const ServerConfig& config) {
    // Both write a line to stderr for what any peer may send, handshakes that fail and texts that
    // are none: anybody could fill the disk.
    gpr_set_log_function([](gpr_log_func_args*) {});
    google::protobuf::SetLogHandler(nullptr);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(config.listen, server_credentials(config), &port_);
    builder.RegisterService(&control_);
    builder.RegisterService(&exchange_);
    builder.RegisterService(&enrolment_);
    builder.SetMaxReceiveMessageSize(kLargestMessageBytes);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMostStreamsPerConnection);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleConnectionMs);
    grpc::ResourceQuota quota("rubato");
    quota.Resize(kGrpcMemoryBytes);
    quota.SetMaxThreads(config.most_calls);
    builder.SetResourceQuota(quota);
    server_ = builder.BuildAndStart();
    if (server_ && port_ > 0) return absl::OkStatus();
    return absl::UnavailableError(
        cat("[coordinator] got ", config.listen, ", want an address that is free on this machine"));
  }
  int port() const override { return port_; }

 private:
  Door door_;
  ControlService control_;
  ExchangeService exchange_;
  EnrolmentService enrolment_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace

StatusOr<std::unique_ptr<GrpcServer>> listen_grpc(const ServerConfig& config, Desk& desk,
                                                  Gatekeeper& gatekeeper) {
  auto server = std::make_unique<Server>(desk, gatekeeper, config);
  RUBATO_RETURN_IF_ERROR(server->listen(config));
  return server;
}

}  // namespace rubato
