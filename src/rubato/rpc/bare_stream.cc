#include "rubato/rpc/bare_stream.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/support/method_handler.h>
#include <grpcpp/support/sync_stream.h>

#include "rubato/rpc/chunk.h"
#include "rubato/rpc/grpc_status.h"
#include "rubato/rpc/transport.h"

namespace rubato {
namespace {

using Bytes = grpc::ByteBuffer;

constexpr char kUploadMethod[] = "/rubato.bench.Bare/Upload";
constexpr char kDownloadMethod[] = "/rubato.bench.Bare/Download";

// Messages of as many bytes as chunks, all of the same memory; `write` is false when it is over.
bool write_all(int64_t bytes, const std::function<bool(const Bytes&)>& write) {
  static const std::vector<char> kData(static_cast<size_t>(kChunkBytes), 'r');
  for (int64_t left = bytes; left > 0; left -= kChunkBytes) {
    const grpc::Slice slice(kData.data(), static_cast<size_t>(std::min(left, kChunkBytes)),
                            grpc::Slice::STATIC_SLICE);
    if (!write(Bytes(&slice, 1))) return false;
  }
  return true;
}

Bytes message_of(const std::string& text) {
  const grpc::Slice slice(text);
  return {&slice, 1};
}

int64_t number_of(const Bytes& message) {
  grpc::Slice slice;
  int64_t number = 0;
  if (!message.DumpToSingleSlice(&slice).ok()) return 0;
  const char* text = reinterpret_cast<const char*>(slice.begin());
  std::from_chars(text, text + slice.size(), number);
  return number;
}

class BareService final : public grpc::Service {
 public:
  BareService() {
    using grpc::internal::RpcMethod, grpc::internal::RpcServiceMethod;
    AddMethod(
        new RpcServiceMethod(kUploadMethod, RpcMethod::CLIENT_STREAMING,
                             new grpc::internal::ClientStreamingHandler<BareService, Bytes, Bytes>(
                                 std::mem_fn(&BareService::swallow), this)));
    AddMethod(
        new RpcServiceMethod(kDownloadMethod, RpcMethod::SERVER_STREAMING,
                             new grpc::internal::ServerStreamingHandler<BareService, Bytes, Bytes>(
                                 std::mem_fn(&BareService::spout), this)));
  }

 private:
  grpc::Status swallow(grpc::ServerContext*, grpc::ServerReader<Bytes>* reader, Bytes* reply) {
    int64_t bytes = 0;
    for (Bytes message; reader->Read(&message);) bytes += static_cast<int64_t>(message.Length());
    *reply = message_of(cat(bytes));
    return grpc::Status::OK;
  }
  grpc::Status spout(grpc::ServerContext*, const Bytes* request,
                     grpc::ServerWriter<Bytes>* writer) {
    const auto write = [&](const Bytes& message) { return writer->Write(message); };
    return write_all(number_of(*request), write) ? grpc::Status::OK : grpc::Status::CANCELLED;
  }
};

class Server final : public BareServer {
 public:
  ~Server() override {
    if (server_) server_->Shutdown();
  }
  Status listen(const ServerConfig& config) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(config.listen, server_credentials(config), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ && port_ > 0) return absl::OkStatus();
    return absl::UnavailableError(cat("[bench] got ", config.listen, ", want a free address"));
  }
  int port() const override { return port_; }

 private:
  BareService service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

class Link final : public BareLink {
 public:
  explicit Link(const LinkConfig& config)
      : channel_(make_channel(config)),
        upload_(kUploadMethod, grpc::internal::RpcMethod::CLIENT_STREAMING, channel_),
        download_(kDownloadMethod, grpc::internal::RpcMethod::SERVER_STREAMING, channel_) {}

  Status upload(int64_t bytes) override {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    Bytes reply;
    const std::unique_ptr<grpc::ClientWriter<Bytes>> writer(
        grpc::internal::ClientWriterFactory<Bytes>::Create(channel_.get(), upload_, &context,
                                                           &reply));
    write_all(bytes, [&](const Bytes& message) { return writer->Write(message); });
    writer->WritesDone();
    RUBATO_RETURN_IF_ERROR(from_grpc(writer->Finish()));
    return check(bytes, number_of(reply));
  }
  Status download(int64_t bytes) override {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    const std::unique_ptr<grpc::ClientReader<Bytes>> reader(
        grpc::internal::ClientReaderFactory<Bytes>::Create(channel_.get(), download_, &context,
                                                           message_of(cat(bytes))));
    int64_t got = 0;
    for (Bytes message; reader->Read(&message);) got += static_cast<int64_t>(message.Length());
    RUBATO_RETURN_IF_ERROR(from_grpc(reader->Finish()));
    return check(bytes, got);
  }

 private:
  static Status check(int64_t want, int64_t got) {
    if (want == got) return absl::OkStatus();
    return absl::DataLossError(cat("[bench] got ", got, " bytes, want ", want));
  }

  std::shared_ptr<grpc::Channel> channel_;
  grpc::internal::RpcMethod upload_, download_;
};

}  // namespace

StatusOr<std::unique_ptr<BareServer>> listen_bare(const ServerConfig& config) {
  auto server = std::make_unique<Server>();
  RUBATO_RETURN_IF_ERROR(server->listen(config));
  return server;
}

std::unique_ptr<BareLink> make_bare_link(const LinkConfig& config) {
  return std::make_unique<Link>(config);
}

}  // namespace rubato
