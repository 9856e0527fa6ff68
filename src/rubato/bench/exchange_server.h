// The coordinator of `rubato bench exchange`, in a process of its own: reception and cluster as
// they are, beside them the two limits.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/rpc/endpoints.h"

namespace rubato {

struct ExchangeSetting {
  std::string directory;  // of the run; made and removed by the caller
  int64_t num_params = 0;
  std::string up_codec = "fp32", down_codec = "fp32";
  bool tls = true;
  int workers = 1;         // that attend
  int64_t now_unix_s = 0;  // certificates begin an hour before
};

/// What server and clients tell each other; lies in shared memory.
struct ExchangeBoard {
  std::atomic<int> port{0}, bare_port{0}, tcp_port{0};  // 0: not yet
  std::atomic<bool> stop{false};                        // the server is to end
  std::atomic<int64_t> arrived_ns{0};      // [ns] when the last upload's last byte was in its file
  std::atomic<int64_t> arrived_cpu_ns{0};  // [ns] that the server had computed then
  std::atomic<bool> failed{false};
  char words[512] = {};  // of the first failure
};

/// The first failure stays.
void report_failure(ExchangeBoard& board, const Status& status);

/// Authority, and the identities of the workers; before the server starts.
StatusOr<std::vector<LinkConfig>> make_identities(const ExchangeSetting& setting);

/// Serves until the board says stop.
Status serve_exchange(const ExchangeSetting& setting, ExchangeBoard& board);

}  // namespace rubato
