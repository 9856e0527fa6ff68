// Bars: a histogram of counts, and rows of stacked shares.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rubato {

struct Histogram {
  std::string words;            // describes the drawing to those who cannot see it
  std::string title;            // written above the bars
  std::string x_title;          // with the unit
  int colour = 0;               // class c0, c1, ..
  std::vector<int64_t> counts;  // element i counts the value i
  size_t bins = 1;              // values 0 .. bins-1 have room; for equal axes side by side
  double mean = 0;              // marked by a line when there is any count
};

/// Bars show shares in %. Values share a bar where there are more than 32.
std::string draw_histogram(const Histogram& histogram);

struct StackedBar {
  std::string label;
  int colour = 0;  // of the label
  std::vector<double> parts;
};

struct StackedBars {
  std::string words;
  std::string part_name;  // "worker": part i is called "worker i"
  std::vector<StackedBar> bars;
};

/// One row per bar, all of one length: part i takes its share, in class p0, p1, .. (p7 and above
/// repeat from p0), with the share in % inside where there is room.
std::string draw_stacked_bars(const StackedBars& bars);

}  // namespace rubato
