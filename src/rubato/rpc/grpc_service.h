// The coordinator's side of gRPC: who calls is found out here, everything else is the reception's.
#pragma once

#include <memory>
#include <string>

#include "rubato/rpc/gatekeeper.h"
#include "rubato/rpc/reception.h"

namespace rubato {

struct ServerConfig {
  std::string listen;           // HOST:PORT; port 0: any
  std::string certificate_pem;  // "": plain text
  std::string key_pem;
  std::string ca_pem;                        // that signed the workers' certificates
  int most_calls = 512;                      // [threads] that calls may occupy at a time
  int most_calls_per_worker = 8;             // of them; an honest worker has up to 6
  Nanos answer_time = 20 * kNanosPerSecond;  // for a stream's first message, and to take its last
  Nanos stall_time = 300 * kNanosPerSecond;  // for one chunk, 3.5 kB/s
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
