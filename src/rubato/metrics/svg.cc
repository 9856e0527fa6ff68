#include "rubato/metrics/svg.h"

#include <utility>

#include "rubato/base/text.h"
#include "rubato/metrics/format.h"

namespace rubato {
namespace {

/// A coordinate: a tenth of a unit is finer than a screen's pixel.
std::string at(double value) {
  std::string text = fixed(value, 1);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

}  // namespace

Svg::Svg(double width, double height, std::string_view words, std::string_view css_class) {
  out_ = cat("<svg viewBox=\"0 0 ", at(width), " ", at(height), "\" class=\"", css_class,
             "\" role=\"img\" aria-label=\"", escape_markup(words), "\">\n");
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view css_class) {
  out_ += cat("<line x1=\"", at(x1), "\" y1=\"", at(y1), "\" x2=\"", at(x2), "\" y2=\"", at(y2),
              "\" class=\"", css_class, "\"/>\n");
}

void Svg::rect(double x, double y, double width, double height, std::string_view css_class,
               std::string_view hint) {
  out_ += cat("<rect x=\"", at(x), "\" y=\"", at(y), "\" width=\"", at(width), "\" height=\"",
              at(height), "\" class=\"", css_class, "\"");
  shape_end("rect", hint);
}

void Svg::circle(double x, double y, double radius, std::string_view css_class,
                 std::string_view hint) {
  out_ += cat("<circle cx=\"", at(x), "\" cy=\"", at(y), "\" r=\"", at(radius), "\" class=\"",
              css_class, "\"");
  shape_end("circle", hint);
}

void Svg::shape_end(std::string_view element, std::string_view hint) {
  if (hint.empty()) {
    out_ += "/>\n";
  } else {
    out_ += cat("><title>", escape_markup(hint), "</title></", element, ">\n");
  }
}

void Svg::polyline(const std::vector<PlotPoint>& points, std::string_view css_class) {
  out_ += cat("<polyline class=\"", css_class, "\" points=\"");
  for (size_t i = 0; i < points.size(); ++i) {
    out_ += cat(i == 0 ? "" : " ", at(points[i].x), ",", at(points[i].y));
  }
  out_ += "\"/>\n";
}

void Svg::text(double x, double y, std::string_view words, TextAnchor anchor,
               std::string_view css_class) {
  const char* side = anchor == TextAnchor::kStart    ? "start"
                     : anchor == TextAnchor::kMiddle ? "middle"
                                                     : "end";
  out_ += cat("<text x=\"", at(x), "\" y=\"", at(y), "\" text-anchor=\"", side, "\" class=\"",
              css_class, "\">", escape_markup(words), "</text>\n");
}

void Svg::vertical_text(double x, double y, std::string_view words, std::string_view css_class) {
  out_ += cat("<text text-anchor=\"middle\" class=\"", css_class, "\" transform=\"translate(",
              at(x), " ", at(y), ") rotate(-90)\">", escape_markup(words), "</text>\n");
}

std::string Svg::finish() && {
  out_ += "</svg>\n";
  return std::move(out_);
}

}  // namespace rubato
