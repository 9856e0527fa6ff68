// A drawing in SVG, written element by element. Colours come from the page's style through
// classes (docs/metrics.md lists them), so one drawing serves light, dark and print.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rubato/metrics/ticks.h"

namespace rubato {

enum class TextAnchor { kStart, kMiddle, kEnd };

class Svg {
 public:
  /// width x height in user units; `words` describe the drawing to those who cannot see it.
  Svg(double width, double height, std::string_view words, std::string_view css_class);

  void line(double x1, double y1, double x2, double y2, std::string_view css_class);
  /// `hint` is shown while the pointer rests on the shape; "" for none.
  void rect(double x, double y, double width, double height, std::string_view css_class,
            std::string_view hint = "");
  void circle(double x, double y, double radius, std::string_view css_class,
              std::string_view hint = "");
  void polyline(const std::vector<PlotPoint>& points, std::string_view css_class);
  void text(double x, double y, std::string_view words, TextAnchor anchor,
            std::string_view css_class);
  /// Text along the vertical axis, read from below.
  void vertical_text(double x, double y, std::string_view words, std::string_view css_class);
  /// The complete <svg> element; the drawing is over.
  std::string finish() &&;

 private:
  void shape_end(std::string_view element, std::string_view hint);
  std::string out_;
};

}  // namespace rubato
