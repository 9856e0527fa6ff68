// The workers of `rubato bench exchange`, all in one process: they push and fetch in rounds, in
// turns with the limits.
#pragma once

#include <vector>

#include <sys/types.h>

#include "rubato/bench/exchange_server.h"

namespace rubato {

/// One round of one kind of transfer, all workers at the same time.
struct ExchangeRound {
  double ours_s = 0, limit_s = 0, tcp_s = 0, settle_s = 0;
  double ours_cpu_s = 0, limit_cpu_s = 0;  // of both processes
};

inline constexpr int kMostRounds = 64;

/// What one server was measured with; lies in shared memory.
struct ExchangeFigure {
  int64_t bytes = 0;  // of one transfer
  int rounds = 0;
  ExchangeRound round[kMostRounds];
  int64_t server_memory_bytes = 0;
};
struct ExchangeFigures {
  ExchangeFigure push, fetch;  // without rounds: not measured
};

/// Pushes, then fetches if `fetches`.
Status measure_exchange(const ExchangeSetting& setting, const std::vector<LinkConfig>& identities,
                        bool fetches, double seconds, pid_t server, ExchangeBoard& board,
                        ExchangeFigures& figures);

}  // namespace rubato
