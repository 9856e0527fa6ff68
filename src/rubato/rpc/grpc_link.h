// The coordinator over gRPC: control and bulk on TCP connections of their own, so that no heartbeat
// waits behind a delta.
#pragma once

#include <memory>

#include "rubato/rpc/coordinator_link.h"
#include "rubato/rpc/endpoints.h"
#include "rubato/v1/enrolment.pb.h"

namespace rubato {

std::unique_ptr<CoordinatorLink> make_grpc_link(const LinkConfig& config);

/// Enrolment over a connection of its own; without a secret, the known key's next certificate.
StatusOr<v1::EnrolReply> enrol_over_grpc(const LinkConfig& config, const v1::EnrolRequest& request);

}  // namespace rubato
