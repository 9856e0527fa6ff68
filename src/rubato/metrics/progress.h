// What a person sees while a run trains: one live line on a terminal, plain lines in a pipe. The
// caller says which of the two it is and brings the clock.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

#include "rubato/base/ids.h"
#include "rubato/metrics/record.h"

namespace rubato {

struct ProgressSnapshot {
  RunPhase phase = RunPhase::kTrain;
  std::string method;
  int64_t steps_done = 0;    // local steps of all workers together
  int64_t steps_total = 0;   // > 0
  double loss_nats = 0;      // training loss
  double bits_per_byte = 0;  // shown as bpb; 0 where the data has no bytes
  double lr = 0;
  double tokens_per_s = 0;                   // by the real clock
  std::optional<double> share_of_peak = {};  // of the processor's multiply-add limit, in [0, 1]
  double staleness = 0;                      // [versions] mean so far; not shown while pretraining
  double eta_s = 0;                          // NaN while nobody knows
};

inline constexpr size_t kProgressColumns = 100;

/// One line of at most kProgressColumns columns, without newline. Where it does not
/// fit, fields are left out in this order: percent, share of peak, bits per byte, lr, steps.
std::string progress_line(const ProgressSnapshot& snapshot);
/// `  eval  step 800  loss 3.4120  perplexity 30.33  bits/byte 1.930  accuracy 31.2 %`.
std::string eval_line(const EvalRecord& record);

/// Any thread.
class ProgressPrinter {
 public:
  using Clock = std::function<Nanos()>;  // monotonic

  /// On a terminal the live line is written at most 5 times a second; elsewhere a plain line comes
  /// every `plain_interval`. `out` outlives the printer.
  ProgressPrinter(std::ostream& out, bool is_terminal, Clock clock,
                  Nanos plain_interval = 10 * kNanosPerSecond);
  /// Ends a live line with a newline.
  ~ProgressPrinter();
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;

  /// Cheap to call every step.
  void update(const ProgressSnapshot& snapshot);
  /// A line that stays, at once: a method begins, a worker is lost, a checkpoint is written.
  void note(std::string_view line);
  /// A line that stays, at most every ten seconds; the latest is shown before the next note and at
  /// the end, so that a method's last evaluation is always seen.
  void evaluation(std::string_view line);
  /// Writes the last snapshot that was not shown yet and ends the live line.
  void finish();

 private:
  void show(const ProgressSnapshot& snapshot);
  void clear_live_line();
  void print_line(std::string_view line);
  void show_evaluation();

  std::mutex mutex_;
  std::ostream& out_;
  bool is_terminal_;
  Clock clock_;
  Nanos interval_;
  std::optional<Nanos> shown_at_;
  std::optional<ProgressSnapshot> pending_;
  std::optional<Nanos> evaluation_at_;
  std::optional<std::string> evaluation_;  // not shown yet
  bool line_is_open_ = false;
};

}  // namespace rubato
