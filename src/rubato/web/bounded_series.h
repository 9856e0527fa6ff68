// A series of any length in bounded memory, for drawing: of each stretch the lowest, the highest
// and the last point. When there are too many stretches, neighbours are merged and stretches are
// twice as long from then on, so what is kept is spread evenly over the whole series and no extreme
// is ever lost.
//
// Readers ask for what changed since a moment they name. Moments are counts of records: they only
// grow, and every stretch remembers the one at which it last changed.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace rubato {

/// Point has `double y() const`, which may be NaN.
template <class Point>
class BoundedSeries {
 public:
  /// Keeps at most `stretches` (even, at least 2), three points each.
  explicit BoundedSeries(size_t stretches) : most_(stretches) {}

  /// `moment` is at least that of the call before.
  void add(const Point& point, int64_t moment) {
    const Numbered numbered{count_, point};
    if (count_ % stride_ == 0) {
      if (stretches_.size() == most_) merge(moment);
      stretches_.push_back({numbered, numbered, numbered, moment});
    } else {
      include(stretches_.back(), {numbered, numbered, numbered, moment});
    }
    ++count_;
  }

  /// Stretches that there are; those with larger numbers that a reader knows of are gone.
  size_t size() const { return stretches_.size(); }

  /// visit(stretch, point) for all points of each stretch that changed behind `moment`, in order.
  template <class Visit>
  void changed_since(int64_t moment, Visit&& visit) const {
    for (size_t i = 0; i < stretches_.size(); ++i) {
      const Stretch& stretch = stretches_[i];
      if (stretch.changed <= moment) continue;
      std::array<const Numbered*, 3> points = {&stretch.lowest, &stretch.highest, &stretch.last};
      std::ranges::sort(points, {}, &Numbered::number);
      for (size_t k = 0; k < points.size(); ++k) {
        if (k == 0 || points[k]->number != points[k - 1]->number) visit(i, points[k]->point);
      }
    }
  }

 private:
  struct Numbered {
    int64_t number;
    Point point;
  };
  struct Stretch {
    Numbered lowest, highest, last;
    int64_t changed;
  };

  // A loss that is no number is the worst there is.
  static bool lower(const Numbered& a, const Numbered& b) {
    const double x = a.point.y(), y = b.point.y();
    return std::isnan(y) ? !std::isnan(x) : x < y;
  }
  static void include(Stretch& stretch, const Stretch& behind) {
    if (lower(behind.lowest, stretch.lowest)) stretch.lowest = behind.lowest;
    if (lower(stretch.highest, behind.highest)) stretch.highest = behind.highest;
    stretch.last = behind.last;
    stretch.changed = behind.changed;
  }
  void merge(int64_t moment) {
    for (size_t i = 0; i < most_ / 2; ++i) {
      Stretch merged = stretches_[2 * i];
      include(merged, stretches_[2 * i + 1]);
      merged.changed = moment;
      stretches_[i] = merged;
    }
    stretches_.resize(most_ / 2);
    stride_ *= 2;
  }

  size_t most_;
  int64_t count_ = 0, stride_ = 1;
  std::vector<Stretch> stretches_;
};

}  // namespace rubato
