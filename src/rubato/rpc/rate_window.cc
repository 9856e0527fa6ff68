#include "rubato/rpc/rate_window.h"

#include <algorithm>
#include <iterator>

namespace rubato {

void RateWindow::add(Nanos now, int64_t total) {
  // The last sample is replaced until the one before it is a second old.
  if (samples_.size() > 1 && now - samples_[samples_.size() - 2].first < kNanosPerSecond)
    samples_.pop_back();
  samples_.emplace_back(now, total);
  while (samples_.size() > 2 && now - samples_[1].first >= kLength) samples_.pop_front();
}

double RateWindow::per_s(Nanos now) const {
  if (samples_.empty()) return 0;
  // Where nothing has come for long, the window begins with the last sample that is outside it.
  const auto inside = std::ranges::find_if(
      samples_, [&](const auto& sample) { return now - sample.first < kLength; });
  const auto begin = inside == samples_.begin() ? inside : std::prev(inside);
  const Nanos length = now - begin->first;
  if (length <= 0) return 0;
  return static_cast<double>(samples_.back().second - begin->second) / to_seconds(length);
}

}  // namespace rubato
