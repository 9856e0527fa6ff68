// The log of a process that runs for days: a line for each thing worth knowing, for people or for
// programs. Only this directory logs; what the rest of the house has to say comes as a Notice.
//
//   text   "  12:34:56  worker 3 joined, 0.58 s a step", in local time; warnings say so
//   json   {"time":"2030-01-02T03:04:05.678Z","level":"info","event":"joined","message":"..",
//           "worker":3,"seconds_per_step":0.58}, a line each and nothing else on the stream
#pragma once

#include <memory>
#include <ostream>
#include <string>

#include "rubato/base/status.h"
#include "rubato/metrics/progress.h"
#include "rubato/rpc/notice.h"

namespace CLI {
class App;
}
namespace spdlog {
class logger;
}

namespace rubato {

/// Flags of every command that logs.
struct LogFlags {
  std::string format = "text";
  std::string level = "info";
};
void add_log_flags(CLI::App& command, LogFlags& flags);

class Log {
 public:
  /// Text goes through `progress` where there is one, so that its live line stays whole; json goes
  /// straight to `out`. Both outlive the log.
  Log(const LogFlags& flags, std::ostream& out, ProgressPrinter* progress);
  ~Log();

  /// Any thread.
  void write(const Notice& notice);
  bool is_json() const { return is_json_; }

 private:
  bool is_json_;
  std::unique_ptr<spdlog::logger> logger_;
};

}  // namespace rubato
