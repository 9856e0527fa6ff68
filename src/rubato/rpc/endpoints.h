// What each end of a connection is told before there is one.
#pragma once

#include <cstdint>
#include <string>

#include "rubato/base/ids.h"
#include "rubato/rpc/authority.h"

namespace rubato {

struct ServerConfig {
  std::string listen;           // HOST:PORT; port 0: any
  std::string certificate_pem;  // "": plain text
  std::string key_pem;
  std::string ca_pem;                        // that signed the workers' certificates
  bool wants_certificate = false;            // of everybody: nobody enrols here
  int most_calls = 512;                      // [threads] that calls may occupy at a time
  int most_calls_per_worker = 8;             // of them; an honest worker has up to 6
  Nanos answer_time = 20 * kNanosPerSecond;  // for a stream's first message, and to take its last
  Nanos stall_time = 300 * kNanosPerSecond;  // for one chunk, 3.5 kB/s
};

/// Where the coordinator is and how a worker proves who it is.
struct LinkConfig {
  std::string address;  // HOST:PORT
  std::string ca_pem;   // "": plain text, with `token`
  // What its certificate has to be made out to; "": the host of `address`.
  std::string server_name{kCoordinatorName};
  std::string certificate_pem;  // of the worker; "" before it is enrolled
  std::string key_pem;
  int64_t worker = -1;  // with `token`, without TLS
  std::string token;
};

}  // namespace rubato
