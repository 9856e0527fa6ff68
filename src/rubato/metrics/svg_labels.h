// Where the words of a plot go: names of lines at the right border, moved apart; words inside the
// frame where they cover neither a line nor each other.
#pragma once

#include <string>
#include <vector>

#include "rubato/metrics/svg.h"
#include "rubato/metrics/ticks.h"

namespace rubato {

/// Width of a bold label in user units, on the safe side for every usual font.
double label_width(std::string_view words);

/// Words beside the right border, each as near to its line's end as the others allow.
class BorderLabels {
 public:
  void add(std::string words, PlotPoint line_end, std::string css_class);
  /// Labels start at `x`; their middles stay within [top, bottom].
  void draw(Svg& svg, double x, double top, double bottom) const;

 private:
  struct Label {
    std::string words;
    PlotPoint end;
    std::string css_class;
  };
  std::vector<Label> labels_;
};

/// Finds free places inside a frame. Add all lines before the first word.
class FreePlaces {
 public:
  FreePlaces(double left, double top, double right, double bottom)
      : left_(left), top_(top), right_(right), bottom_(bottom) {}
  /// A line in user units that words shall not cover.
  void avoid(const std::vector<PlotPoint>& line);
  enum class Side { kRight, kBelowLeft };
  /// Where to write `words` (start of the text, its middle's height) near `anchor`, on that side if
  /// there is room: the first of a few places that is free, or else the first one of all.
  PlotPoint place(std::string_view words, PlotPoint anchor, Side side);

 private:
  struct Box {
    double left, top, right, bottom;
  };
  bool is_free(const Box& box) const;

  double left_, top_, right_, bottom_;
  std::vector<PlotPoint> line_points_;  // dense enough that none jumps over a word
  std::vector<Box> taken_;
};

}  // namespace rubato
