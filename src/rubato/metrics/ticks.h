// Where an axis has its ticks, and how many points a line needs.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace rubato {

struct PlotPoint {
  double x = 0;
  double y = 0;
};

/// Round values (1, 2, 5 times a power of ten) inside [low, high], about `target` of them.
std::vector<double> linear_ticks(double low, double high, int target);
/// Powers of ten inside [low, high]; with 2 and 5 between them where that gives too few. low > 0.
std::vector<double> log_ticks(double low, double high);
/// Words for a tick: as many digits as the ticks need to differ, thousands as k, M, G.
std::vector<std::string> tick_labels(const std::vector<double>& ticks);

/// At most about `limit` points of the same look: of each stretch along the line the lowest and the
/// highest stay, and the ends. Points with a coordinate that is not finite are left out.
std::vector<PlotPoint> thin_out(const std::vector<PlotPoint>& points, size_t limit);

}  // namespace rubato
