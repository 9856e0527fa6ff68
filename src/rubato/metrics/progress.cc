#include "rubato/metrics/progress.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "rubato/metrics/format.h"

namespace rubato {
namespace {

constexpr Nanos kLiveInterval = kNanosPerSecond / 5;
constexpr Nanos kEvaluationInterval = 10 * kNanosPerSecond;
// Back to the first column, and erase what the last line left behind.
constexpr std::string_view kClearLine = "\r\x1b[K";

struct Field {
  std::string text;
  int drop_first;  // 0 stays; 1 goes first where the line is too long
};

std::string scientific(double value) {
  if (!std::isfinite(value)) return "-";
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific, 1);
  std::string text(buffer.data(), end.ptr);
  // 3.8e-4 says as much as 3.8e-04.
  const size_t zero = text.find('e') + 2;
  if (text[zero] == '0') text.erase(zero, 1);
  return text;
}

std::string in_one_line(const std::vector<Field>& fields, int dropped) {
  std::vector<std::string> kept;
  for (const Field& field : fields) {
    const bool drop = field.drop_first != 0 && field.drop_first <= dropped;
    if (!drop && !field.text.empty()) kept.push_back(field.text);
  }
  return join(kept, " ");
}

}  // namespace

std::string progress_line(const ProgressSnapshot& s) {
  const bool training = s.phase == RunPhase::kTrain;
  const double share = s.steps_total > 0
                           ? static_cast<double>(s.steps_done) / static_cast<double>(s.steps_total)
                           : 0;
  const std::vector<Field> fields = {
      {training ? s.method : "pretrain", 0},
      {cat(grouped(s.steps_done), "/", grouped(s.steps_total)), 5},
      {cat(fixed(100 * share, 0), "%"), 1},
      {cat("loss ", fixed(s.loss_nats, 3)), 0},
      {s.bits_per_byte > 0 ? cat("val ", fixed(s.bits_per_byte, 3), " bpb") : "", 3},
      {cat("lr ", scientific(s.lr)), 4},
      {cat(short_count(s.tokens_per_s), " tok/s"), 0},
      {s.share_of_peak ? cat(fixed(100 * *s.share_of_peak, 0), "% peak") : "", 2},
      {training ? cat("stale ", fixed(s.staleness, 1)) : "", 0},
      {cat("ETA ", clock_time(s.eta_s)), 0}};
  for (int dropped = 0; dropped <= 5; ++dropped) {
    std::string line = in_one_line(fields, dropped);
    if (line.size() <= kProgressColumns) return line;
  }
  return in_one_line(fields, 5).substr(0, kProgressColumns);
}

std::string eval_line(const EvalRecord& record) {
  std::string line =
      cat("  eval  step ", grouped(record.local_steps), "  loss ", fixed(record.loss_nats, 4),
          "  perplexity ", fixed(record.perplexity(), 2));
  if (record.bits_per_byte > 0) line += cat("  bits/byte ", fixed(record.bits_per_byte, 3));
  if (record.accuracy > 0) line += cat("  accuracy ", fixed(100 * record.accuracy, 1), " %");
  return line;
}

ProgressPrinter::ProgressPrinter(std::ostream& out, bool is_terminal, Clock clock,
                                 Nanos plain_interval)
    : out_(out),
      is_terminal_(is_terminal),
      clock_(std::move(clock)),
      interval_(is_terminal ? kLiveInterval : plain_interval) {}

ProgressPrinter::~ProgressPrinter() { finish(); }

void ProgressPrinter::update(const ProgressSnapshot& snapshot) {
  const std::lock_guard lock(mutex_);
  const Nanos now = clock_();
  if (shown_at_ && now - *shown_at_ < interval_) {
    pending_ = snapshot;
    return;
  }
  shown_at_ = now;
  show(snapshot);
}

void ProgressPrinter::note(std::string_view line) {
  const std::lock_guard lock(mutex_);
  show_evaluation();
  print_line(line);
}

void ProgressPrinter::evaluation(std::string_view line) {
  const std::lock_guard lock(mutex_);
  evaluation_ = line;
  const Nanos now = clock_();
  if (evaluation_at_ && now - *evaluation_at_ < kEvaluationInterval) return;
  evaluation_at_ = now;
  show_evaluation();
}

void ProgressPrinter::show_evaluation() {
  if (!evaluation_) return;
  print_line(*evaluation_);
  evaluation_.reset();
}

void ProgressPrinter::print_line(std::string_view line) {
  clear_live_line();
  out_ << line << '\n' << std::flush;
}

void ProgressPrinter::finish() {
  const std::lock_guard lock(mutex_);
  show_evaluation();
  if (pending_) show(*pending_);
  if (line_is_open_) out_ << '\n' << std::flush;
  line_is_open_ = false;
}

void ProgressPrinter::show(const ProgressSnapshot& snapshot) {
  clear_live_line();
  out_ << progress_line(snapshot);
  if (!is_terminal_) out_ << '\n';
  out_ << std::flush;
  line_is_open_ = is_terminal_;
  pending_.reset();
}

void ProgressPrinter::clear_live_line() {
  if (line_is_open_) out_ << kClearLine;
  line_is_open_ = false;
}

}  // namespace rubato
