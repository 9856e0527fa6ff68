// Sums over equal stretches of time, for a run of any length in bounded memory: when time goes
// beyond the last cell, neighbours are added together and cells are twice as wide from then on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "rubato/base/ids.h"

namespace rubato {

/// Cell has `void add(const Cell&)` and begins as nothing. Moments: as in bounded_series.h.
template <class Cell>
class TimeGrid {
 public:
  /// At most `cells` (even, at least 2), of a sixteenth of a second at first.
  explicit TimeGrid(size_t cells) : most_(cells) {}

  /// Adds to the cell of `time`; what is before the run's beginning counts as its beginning.
  void add(Nanos time, const Cell& what, int64_t moment) {
    time = std::clamp<Nanos>(time, 0, kLatest);
    widen_to(time, moment);
    const auto at = static_cast<size_t>(time / width_);
    if (at >= cells_.size()) cells_.resize(at + 1);
    cells_[at].sum.add(what);
    cells_[at].changed = moment;
  }

  /// Adds make(length of the part [ns]) to each cell that [begin, end) has a part in.
  template <class Make>
  void spread(Nanos begin, Nanos end, Make&& make, int64_t moment) {
    begin = std::clamp<Nanos>(begin, 0, kLatest);
    end = std::clamp<Nanos>(end, begin, kLatest);
    if (begin == end) return;
    widen_to(end - 1, moment);
    while (begin < end) {
      const Nanos here = std::min(end, (begin / width_ + 1) * width_);
      add(begin, make(here - begin), moment);
      begin = here;
    }
  }

  Nanos width() const { return width_; }
  size_t size() const { return cells_.size(); }
  /// visit(cell's number, sum) for every cell that changed behind `moment`.
  template <class Visit>
  void changed_since(int64_t moment, Visit&& visit) const {
    for (size_t i = 0; i < cells_.size(); ++i) {
      if (cells_[i].changed > moment) visit(i, cells_[i].sum);
    }
  }

 private:
  static constexpr Nanos kLatest = Nanos{1} << 61;  // a damaged record may say anything

  struct Stretch {
    Cell sum;
    int64_t changed = 0;
  };

  void widen_to(Nanos time, int64_t moment) {
    while (time / width_ >= static_cast<Nanos>(most_)) {
      std::vector<Stretch> wider((cells_.size() + 1) / 2);
      for (size_t i = 0; i < cells_.size(); ++i) wider[i / 2].sum.add(cells_[i].sum);
      for (Stretch& stretch : wider) stretch.changed = moment;
      cells_ = std::move(wider);
      width_ *= 2;
    }
  }

  size_t most_;
  Nanos width_ = kNanosPerSecond / 16;
  std::vector<Stretch> cells_;
};

}  // namespace rubato
