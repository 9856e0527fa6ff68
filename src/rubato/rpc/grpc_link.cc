#include "rubato/rpc/grpc_link.h"

#include <mutex>

#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>

#include "rubato/rpc/chunk_wire.h"
#include "rubato/rpc/grpc_status.h"
#include "rubato/rpc/transport.h"
#include "rubato/v1/control.grpc.pb.h"
#include "rubato/v1/enrolment.grpc.pb.h"
#include "rubato/v1/exchange.grpc.pb.h"

namespace rubato {
namespace {

// An answer that needs no work comes within this; bulk has no limit but its own progress.
constexpr int64_t kAnswerSeconds = 30;
constexpr int64_t kConnectSeconds = 10;

gpr_timespec answer_deadline(int64_t seconds = kAnswerSeconds) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(seconds, GPR_TIMESPAN));
}

void identify(const LinkConfig& config, grpc::ClientContext& context) {
  if (config.token.empty()) return;
  context.AddMetadata("rubato-worker", cat(config.worker));
  context.AddMetadata("rubato-token", config.token);
}

// A connection makes progress only while somebody waits for it: calls that fail at once and come
// again later would never see it ready after a cut.
Status wait_until_connected(grpc::Channel& channel, const LinkConfig& config) {
  if (channel.WaitForConnected(answer_deadline(kConnectSeconds))) return absl::OkStatus();
  return absl::UnavailableError(cat("[link] ", config.address, ": got no connection within ",
                                    kConnectSeconds, " s, want the coordinator there"));
}

grpc::ByteBuffer header_message(const v1::DeltaHeader& header) {
  v1::PushPart part;
  *part.mutable_header() = header;
  const std::string bytes = part.SerializeAsString();
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

class GrpcControlStream final : public ControlStream {
 public:
  GrpcControlStream(v1::Control::Stub& stub, const LinkConfig& config) {
    identify(config, context_);
    stream_ = stub.Attend(&context_);
  }
  ~GrpcControlStream() override {
    if (finished_) return;
    context_.TryCancel();
    stream_->Finish().ok();
  }

  bool send(const v1::FromWorker& message) override {
    const std::lock_guard lock(writing_);
    return stream_->Write(message);
  }
  std::optional<v1::ToWorker> next() override {
    v1::ToWorker message;
    if (!stream_->Read(&message)) return std::nullopt;
    return message;
  }
  Status finish() override {
    {
      const std::lock_guard lock(writing_);
      stream_->WritesDone();
    }
    finished_ = true;
    return from_grpc(stream_->Finish());
  }
  void cancel() override { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  std::mutex writing_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::FromWorker, v1::ToWorker>> stream_;
  bool finished_ = false;
};

class GrpcLink final : public CoordinatorLink {
 public:
  explicit GrpcLink(const LinkConfig& config)
      : config_(config),
        control_channel_(make_channel(config)),
        exchange_channel_(make_channel(config)),
        control_(v1::Control::NewStub(control_channel_)),
        exchange_(v1::Exchange::NewStub(exchange_channel_)),
        fetch_method_(kFetchMethod, grpc::internal::RpcMethod::SERVER_STREAMING, exchange_channel_),
        push_method_(kPushMethod, grpc::internal::RpcMethod::CLIENT_STREAMING, exchange_channel_) {}

  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest& request) override {
    RUBATO_RETURN_IF_ERROR(wait_until_connected(*control_channel_, config_));
    grpc::ClientContext context;
    prepare(context);
    v1::RunDescription reply;
    RUBATO_RETURN_IF_ERROR(from_grpc(control_->Describe(&context, request, &reply)));
    return reply;
  }

  StatusOr<std::unique_ptr<ControlStream>> attend(const v1::Hello& hello) override {
    RUBATO_RETURN_IF_ERROR(wait_until_connected(*control_channel_, config_));
    auto stream = std::make_unique<GrpcControlStream>(*control_, config_);
    v1::FromWorker first;
    *first.mutable_hello() = hello;
    if (!stream->send(first)) {
      const Status why = stream->finish();
      return why.ok() ? absl::UnavailableError("[worker] the coordinator ended the session") : why;
    }
    return stream;
  }

  Status fetch(const v1::FetchRequest& request,
               const std::function<Status(const Chunk&)>& sink) override {
    RUBATO_RETURN_IF_ERROR(wait_until_connected(*exchange_channel_, config_));
    grpc::ClientContext context;
    identify(config_, context);
    const std::unique_ptr<grpc::ClientReader<grpc::ByteBuffer>> reader(
        grpc::internal::ClientReaderFactory<grpc::ByteBuffer>::Create(
            exchange_channel_.get(), fetch_method_, &context, request));
    ChunkReader parser(ChunkForm::kChunk);
    grpc::ByteBuffer message;
    Chunk chunk;
    Status status;
    while (status.ok() && reader->Read(&message)) {
      status = parser.read(message, chunk);
      if (status.ok()) status = sink(chunk);
    }
    if (!status.ok()) {
      context.TryCancel();
      reader->Finish().ok();
      return status;
    }
    return from_grpc(reader->Finish());
  }

  StatusOr<v1::PushOffsetReply> push_offset(const v1::PushOffsetRequest& request) override {
    RUBATO_RETURN_IF_ERROR(wait_until_connected(*exchange_channel_, config_));
    grpc::ClientContext context;
    prepare(context);
    v1::PushOffsetReply reply;
    RUBATO_RETURN_IF_ERROR(from_grpc(exchange_->PushOffset(&context, request, &reply)));
    return reply;
  }

  StatusOr<v1::PushReply> push(const v1::DeltaHeader& header,
                               const std::function<bool(Chunk&)>& source) override {
    RUBATO_RETURN_IF_ERROR(wait_until_connected(*exchange_channel_, config_));
    grpc::ClientContext context;
    identify(config_, context);
    v1::PushReply reply;
    const std::unique_ptr<grpc::ClientWriter<grpc::ByteBuffer>> writer(
        grpc::internal::ClientWriterFactory<grpc::ByteBuffer>::Create(
            exchange_channel_.get(), push_method_, &context, &reply));
    bool open = writer->Write(header_message(header));
    for (Chunk chunk; open && source(chunk);)
      open = writer->Write(to_message(chunk, ChunkForm::kPushPart));
    writer->WritesDone();
    RUBATO_RETURN_IF_ERROR(from_grpc(writer->Finish()));
    return reply;
  }

 private:
  void prepare(grpc::ClientContext& context) const {
    identify(config_, context);
    context.set_deadline(answer_deadline());
  }

  LinkConfig config_;
  std::shared_ptr<grpc::Channel> control_channel_, exchange_channel_;
  std::unique_ptr<v1::Control::Stub> control_;
  std::unique_ptr<v1::Exchange::Stub> exchange_;
  grpc::internal::RpcMethod fetch_method_, push_method_;  // whose chunks are not copied
};

}  // namespace

std::unique_ptr<CoordinatorLink> make_grpc_link(const LinkConfig& config) {
  return std::make_unique<GrpcLink>(config);
}

StatusOr<v1::EnrolReply> enrol_over_grpc(const LinkConfig& config,
                                         const v1::EnrolRequest& request) {
  const auto stub = v1::Enrolment::NewStub(make_channel(config));
  grpc::ClientContext context;
  context.set_deadline(answer_deadline());
  v1::EnrolReply reply;
  if (request.secret().empty()) {
    v1::RenewRequest renewal;
    renewal.set_csr_pem(request.csr_pem());
    RUBATO_RETURN_IF_ERROR(from_grpc(stub->Renew(&context, renewal, &reply)));
    return reply;
  }
  RUBATO_RETURN_IF_ERROR(from_grpc(stub->Enrol(&context, request, &reply)));
  return reply;
}

}  // namespace rubato
