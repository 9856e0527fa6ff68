// gRPC connections as this program makes them. HTTP/2 is left as gRPC has it: no size of buffers,
// frames or windows was faster (docs/exchange.md).
#pragma once

#include <memory>

#include <grpcpp/channel.h>
#include <grpcpp/security/server_credentials.h>

#include "rubato/rpc/endpoints.h"

namespace rubato {

/// A TCP connection of its own, made when it is first used.
std::shared_ptr<grpc::Channel> make_channel(const LinkConfig& config);

std::shared_ptr<grpc::ServerCredentials> server_credentials(const ServerConfig& config);

}  // namespace rubato
