// The coordinator's side of gRPC: who calls is found out here, everything else is the desk's.
#pragma once

#include <memory>

#include "rubato/rpc/desk.h"
#include "rubato/rpc/endpoints.h"
#include "rubato/rpc/gatekeeper.h"

namespace rubato {

/// A listening server; destroyed, it ends all calls within a second.
class GrpcServer {
 public:
  virtual ~GrpcServer() = default;
  virtual int port() const = 0;
};

/// Desk and gatekeeper outlive the server. Unavailable `[coordinator] ..` when the address
/// cannot be listened at.
StatusOr<std::unique_ptr<GrpcServer>> listen_grpc(const ServerConfig& config, Desk& desk,
                                                  Gatekeeper& gatekeeper);

}  // namespace rubato
