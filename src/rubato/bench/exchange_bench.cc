#include "rubato/bench/exchange_bench.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string_view>
#include <thread>

#include <unistd.h>

#include "rubato/bench/exchange_clients.h"
#include "rubato/bench/exchange_server.h"
#include "rubato/bench/forked.h"
#include "rubato/bench/timing.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

// Up and down in one server. Blocks of integers are for pseudo-gradients only.
struct Codecs {
  const char* up;
  const char* down;
};
constexpr std::string_view kPushOnly = "int8";
constexpr Codecs kCodecs[] = {{"fp32", "fp32"}, {"bf16", "bf16"}, {"int8", "fp32"}};

struct Boards {
  ExchangeBoard board;
  ExchangeFigures figures;
};

Status failure_of(const ExchangeBoard& board) {
  return absl::UnknownError(board.failed ? board.words : "[bench] got a process that died");
}

StatusOr<ExchangeFigures> measure_setting(const ExchangeSetting& setting, bool fetches,
                                          const ExchangeBenchOptions& options) {
  RUBATO_ASSIGN_OR_RETURN(const auto identities, make_identities(setting));
  RUBATO_ASSIGN_OR_RETURN(const std::shared_ptr<Boards> shared, make_board<Boards>());
  ExchangeBoard& board = shared->board;
  RUBATO_ASSIGN_OR_RETURN(ForkedProcess server, ForkedProcess::start([&] {
                            const Status status = serve_exchange(setting, board);
                            if (!status.ok()) report_failure(board, status);
                          }));
  while (board.port == 0) {
    if (board.failed) return failure_of(board);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  RUBATO_ASSIGN_OR_RETURN(ForkedProcess clients, ForkedProcess::start([&] {
                            const Status status =
                                measure_exchange(setting, identities, fetches, options.seconds,
                                                 server.pid(), board, shared->figures);
                            if (!status.ok()) report_failure(board, status);
                          }));
  const bool ended = clients.wait();
  if (!ended || board.failed) return failure_of(board);
  // The server dies with its handle: nothing of the run is wanted any more.
  return shared->figures;
}

ExchangeRow row_of(const ExchangeSetting& setting, const std::string& name,
                   const std::string& codec, const ExchangeFigure& figure) {
  ExchangeRow row;
  row.name = name;
  row.codec = codec;
  row.tls = setting.tls;
  row.num_params = setting.num_params;
  row.workers = setting.workers;
  std::vector<double> ours, limit, tcp, share, settle, cpu, limit_cpu;
  const double mb = static_cast<double>(figure.bytes) * 1e-6 * setting.workers;
  for (int i = 0; i < figure.rounds; ++i) {
    const ExchangeRound& round = figure.round[i];
    ours.push_back(mb / round.ours_s);
    limit.push_back(mb / round.limit_s);
    tcp.push_back(mb / round.tcp_s);
    share.push_back(round.limit_s / round.ours_s);
    settle.push_back(round.settle_s * 1e3);
    cpu.push_back(round.ours_cpu_s * 1e3 / mb);
    limit_cpu.push_back(round.limit_cpu_s * 1e3 / mb);
  }
  row.mb_per_s = median(ours);
  row.limit_mb_per_s = median(limit);
  row.tcp_mb_per_s = median(tcp);
  row.share_of_limit = median(share);
  row.share_least = *std::ranges::min_element(share);
  row.share_most = *std::ranges::max_element(share);
  row.cpu_ms_per_mb = median(cpu);
  row.limit_cpu_ms_per_mb = median(limit_cpu);
  row.settle_ms = median(settle);
  row.server_memory_bytes = figure.server_memory_bytes;
  row.state_bytes = 2 * setting.num_params * static_cast<int64_t>(sizeof(float));
  return row;
}

}  // namespace

StatusOr<std::vector<ExchangeRow>> bench_exchange(const ExchangeBenchOptions& options) {
  PosixFileSystem files;
  std::vector<ExchangeSetting> settings;
  for (const int64_t num_params : options.params) {
    for (const bool tls : {true, false}) {
      for (const int workers : options.workers) {
        for (const Codecs& codecs : kCodecs) {
          const std::string name = cat("rubato-bench-exchange-", ::getpid(), "-", settings.size());
          settings.push_back({.directory = join_path(options.directory, name),
                              .num_params = num_params,
                              .up_codec = codecs.up,
                              .down_codec = codecs.down,
                              .tls = tls,
                              .workers = workers,
                              .now_unix_s = options.now_unix_s});
        }
      }
    }
  }
  std::vector<ExchangeRow> rows;
  for (const ExchangeSetting& setting : settings) {
    const bool fetches = setting.up_codec != kPushOnly;
    const auto figures = measure_setting(setting, fetches, options);
    RUBATO_RETURN_IF_ERROR(files.remove_tree(setting.directory));
    RUBATO_RETURN_IF_ERROR(figures.status());
    rows.push_back(row_of(setting, "push", setting.up_codec, figures->push));
    if (fetches) rows.push_back(row_of(setting, "fetch", setting.down_codec, figures->fetch));
  }
  return rows;
}

}  // namespace rubato
