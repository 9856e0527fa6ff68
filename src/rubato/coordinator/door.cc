#include "rubato/coordinator/door.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace rubato {
namespace {

constexpr size_t kWindow = 64;  // accepted deltas the median is taken over

double median(const std::deque<double>& values) {
  std::vector<double> sorted(values.begin(), values.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::ranges::nth_element(sorted, middle);
  return *middle;
}

}  // namespace

std::string_view to_string(RejectReason reason) {
  switch (reason) {
    case RejectReason::kUnknownTask:
      return "unknown task";
    case RejectReason::kWrongWorker:
      return "task of another worker";
    case RejectReason::kBadClaim:
      return "impossible claim";
    case RejectReason::kNotFinite:
      return "not finite";
    case RejectReason::kNormTooLarge:
      return "norm too large";
    case RejectReason::kSuperseded:
      return "superseded";
    case RejectReason::kFinished:
      return "run finished";
    case RejectReason::kEmpty:
      return "nothing delivered";
  }
  return "unknown";
}

Door::Verdict Door::judge(double norm, bool finite, int64_t steps) {
  if (!finite || !std::isfinite(norm) || norm < 0)
    return {.pass = false, .reason = RejectReason::kNotFinite};
  double size = norm / std::sqrt(static_cast<double>(steps));
  Verdict verdict;
  if (config_.norm_action != NormAction::kOff && accepted_ >= config_.norm_after &&
      !recent_.empty()) {
    const double limit = config_.norm_multiple * median(recent_);
    // A median of zero says nothing about what is large.
    if (limit > 0 && size > limit) {
      if (config_.norm_action == NormAction::kReject) {
        return {.pass = false, .reason = RejectReason::kNormTooLarge};
      }
      verdict.scale = limit / size;
      size = limit;
    }
  }
  ++accepted_;
  recent_.push_back(size);
  if (recent_.size() > kWindow) recent_.pop_front();
  return verdict;
}

}  // namespace rubato
