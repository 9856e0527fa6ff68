// The coordinator over gRPC: control and bulk on TCP connections of their own, so that no heartbeat
// waits behind a delta.
#pragma once

#include <memory>
#include <string>

#include "rubato/rpc/coordinator_link.h"
#include "rubato/v1/enrolment.pb.h"

namespace rubato {

/// Where the coordinator is and how a worker proves who it is.
struct LinkConfig {
  std::string address;          // HOST:PORT
  std::string ca_pem;           // "": plain text, with `token`
  std::string certificate_pem;  // of the worker; "" before it is enrolled
  std::string key_pem;
  int64_t worker = -1;  // with `token`, without TLS
  std::string token;
};

std::unique_ptr<CoordinatorLink> make_grpc_link(const LinkConfig& config);

/// Enrolment over a connection of its own; without a secret, the known key's next certificate.
StatusOr<v1::EnrolReply> enrol_over_grpc(const LinkConfig& config, const v1::EnrolRequest& request);

}  // namespace rubato
