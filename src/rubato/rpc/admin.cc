#include "rubato/rpc/admin.h"

#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "rubato/rpc/grpc_status.h"
#include "rubato/v1/admin.grpc.pb.h"

namespace rubato {
namespace {

constexpr size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr int64_t kAnswerSeconds = 10;

Status check_path(const std::string& path) {
  if (path.size() <= kLongestPath) return absl::OkStatus();
  return absl::InvalidArgumentError(
      cat("[control] ", path, ": got a path of ", path.size(), " bytes, want at most ",
          kLongestPath, " for a socket; name the run by a shorter path, a relative one will do"));
}

class AdminService final : public v1::Admin::Service {
 public:
  explicit AdminService(Cluster& cluster) : cluster_(cluster) {}

  grpc::Status Status(grpc::ServerContext*, const v1::StatusRequest*,
                      v1::StatusReply* reply) override {
    return answer(absl::OkStatus(), reply);
  }
  grpc::Status Pause(grpc::ServerContext*, const v1::PauseRequest*,
                     v1::StatusReply* reply) override {
    return answer(cluster_.pause(true), reply);
  }
  grpc::Status Resume(grpc::ServerContext*, const v1::ResumeRequest*,
                      v1::StatusReply* reply) override {
    return answer(cluster_.pause(false), reply);
  }
  grpc::Status Drain(grpc::ServerContext*, const v1::DrainRequest*,
                     v1::StatusReply* reply) override {
    return answer(cluster_.drain(), reply);
  }
  grpc::Status Evict(grpc::ServerContext*, const v1::EvictRequest* request,
                     v1::StatusReply* reply) override {
    return answer(cluster_.evict(WorkerId(request->worker()), "evicted by the operator"), reply);
  }

 private:
  grpc::Status answer(const rubato::Status& done, v1::StatusReply* reply) {
    if (!done.ok()) return to_grpc(done);
    *reply = cluster_.status();
    return grpc::Status::OK;
  }

  Cluster& cluster_;
};

class Server final : public AdminServer {
 public:
  explicit Server(Cluster& cluster) : service_(cluster) {}
  ~Server() override {
    if (!server_) return;
    server_->Shutdown(
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(1, GPR_TIMESPAN)));
    server_->Wait();
  }

  Status listen(const std::string& path) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(cat("unix:", path), grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    // Its owner's alone from its first moment.
    const mode_t before = umask(0177);
    server_ = builder.BuildAndStart();
    umask(before);
    if (server_) return absl::OkStatus();
    return absl::UnavailableError(
        cat("[control] ", path, ": got no socket, want a directory that can hold one"));
  }

 private:
  AdminService service_;
  std::unique_ptr<grpc::Server> server_;
};

grpc::Status call(v1::Admin::Stub& stub, grpc::ClientContext& context, const AdminRequest& request,
                  v1::StatusReply& reply) {
  switch (request.action) {
    case AdminAction::kPause:
      return stub.Pause(&context, {}, &reply);
    case AdminAction::kResume:
      return stub.Resume(&context, {}, &reply);
    case AdminAction::kDrain:
      return stub.Drain(&context, {}, &reply);
    case AdminAction::kEvict: {
      v1::EvictRequest evict;
      evict.set_worker(request.worker.value());
      return stub.Evict(&context, evict, &reply);
    }
    case AdminAction::kStatus:
      break;
  }
  return stub.Status(&context, {}, &reply);
}

}  // namespace

std::string control_socket_path(const std::string& run_dir) {
  return join_path(run_dir, "control.sock");
}

StatusOr<std::unique_ptr<AdminServer>> listen_admin(const std::string& run_dir, Cluster& cluster) {
  const std::string path = control_socket_path(run_dir);
  RUBATO_RETURN_IF_ERROR(check_path(path));
  auto server = std::make_unique<Server>(cluster);
  RUBATO_RETURN_IF_ERROR(server->listen(path));
  return server;
}

StatusOr<v1::StatusReply> ask_admin(FileSystem& files, const std::string& run_dir,
                                    const AdminRequest& request) {
  const std::string path = control_socket_path(run_dir);
  if (!files.exists(run_dir)) {
    return absl::NotFoundError(cat("[control] ", run_dir, ": got no such directory, want one that ",
                                   "`rubato coordinator --out` made"));
  }
  RUBATO_RETURN_IF_ERROR(check_path(path));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto stub = v1::Admin::NewStub(
      grpc::CreateCustomChannel(cat("unix:", path), grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                    gpr_time_from_seconds(kAnswerSeconds, GPR_TIMESPAN)));
  v1::StatusReply reply;
  const Status status = from_grpc(call(*stub, context, request, reply));
  if (status.ok()) return reply;
  if (absl::IsUnavailable(status)) {
    return absl::UnavailableError(
        cat("[control] ", run_dir, ": got no running coordinator, want one; the command that ",
            "started it goes on from there, and one that still pretrains ",
            "or waits for its model does not answer yet"));
  }
  if (absl::IsDeadlineExceeded(status)) {
    return absl::DeadlineExceededError(
        cat("[control] ", run_dir, ": got no answer within ", kAnswerSeconds,
            " s, want the coordinator to; it may be writing a snapshot"));
  }
  return status;
}

}  // namespace rubato
