// The coordinator's side of gRPC: who calls is found out here, everything else is the reception's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "rubato/rpc/reception.h"
#include "rubato/v1/enrolment.pb.h"

namespace rubato {

/// Who may call, as the transport sees it: a certificate's text or a token.
struct Caller {
  std::string certificate_pem;  // of the peer, verified by TLS; "" without one
  int64_t worker = -1;          // with `token`, without TLS
  std::string token;
};

/// Decides who somebody is; any thread.
class Gatekeeper {
 public:
  virtual ~Gatekeeper() = default;
  /// Unauthenticated or PermissionDenied in one line.
  virtual StatusOr<WorkerId> identify(const Caller& caller) = 0;
  virtual StatusOr<v1::EnrolReply> enrol(const v1::EnrolRequest& request) = 0;
  virtual StatusOr<v1::EnrolReply> renew(WorkerId worker, const v1::RenewRequest& request) = 0;
};

struct ServerConfig {
  std::string listen;           // HOST:PORT; port 0: any
  std::string certificate_pem;  // "": plain text
  std::string key_pem;
  std::string ca_pem;    // that signed the workers' certificates
  int most_calls = 512;  // [threads] that calls may occupy at a time
};

/// A listening server; destroyed, it ends all calls within a second.
class GrpcServer {
 public:
  virtual ~GrpcServer() = default;
  virtual int port() const = 0;
};

/// Reception and gatekeeper outlive the server. Unavailable `[coordinator] ..` when the address
/// cannot be listened at.
StatusOr<std::unique_ptr<GrpcServer>> listen_grpc(const ServerConfig& config, Reception& reception,
                                                  Gatekeeper& gatekeeper);

}  // namespace rubato
