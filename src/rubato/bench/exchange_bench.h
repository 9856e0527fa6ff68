// How fast parameters and pseudo-gradients travel between workers and a coordinator on loopback,
// through reception and cluster as they are, beside a bare gRPC stream of the same bytes in the
// same TLS mode (the limit) and bare TCP. Server and clients are processes of their own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

struct ExchangeBenchOptions {
  std::vector<int64_t> params = {34'000'000};  // P, >= 1
  std::vector<int> workers = {1, 8};           // at the same time, >= 1, ascending
  double seconds = 1;      // [s] of each figure, its limits included; two rounds at least
  std::string directory;   // where runs are made and removed
  int64_t now_unix_s = 0;  // [unix s]
};

struct ExchangeRow {
  std::string name;  // push | fetch
  std::string codec;
  bool tls = false;
  int64_t num_params = 0;
  int workers = 0;
  double mb_per_s = 0;  // [1e6 bytes/s] of the encoding, all workers together; the median round
  double limit_mb_per_s = 0;  // the same for the bare stream
  double tcp_mb_per_s = 0;    // the same for bare TCP, never with TLS
  double share_of_limit = 0;  // median over rounds
  double share_least = 0, share_most = 0;
  double cpu_ms_per_mb = 0;         // computed by both processes
  double limit_cpu_ms_per_mb = 0;   // the same for the bare stream
  double settle_ms = 0;             // of a push, from its last byte to the last verdict
  int64_t server_memory_bytes = 0;  // private to the server's process, the most that was seen
  int64_t state_bytes = 0;          // theta and outer state
};

/// Rows for every size, TLS mode, codec and number of workers.
StatusOr<std::vector<ExchangeRow>> bench_exchange(const ExchangeBenchOptions& options);

}  // namespace rubato
