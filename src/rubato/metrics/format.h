// Numbers as people read them: in tables, on axes, in the progress line. Never for records, which
// keep every digit.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rubato {

/// `digits` places after the point; "-" when it is not finite.
std::string fixed(double value, int digits);
/// fixed() with a + in front of what is not negative.
std::string signed_fixed(double value, int digits);
/// 1234567 -> 1,234,567.
std::string grouped(int64_t value);
/// Three significant digits with k, M, G: 48.9k. Below 1000 without a suffix.
std::string short_count(double value);
/// 7 s -> 7s, 185 s -> 3:05, 7505 s -> 2:05:05. For a clock on the wall.
std::string clock_time(double seconds);
/// Text for HTML and SVG: & < > " ' escaped, control characters except newline and tab left out.
std::string escape_markup(std::string_view text);

}  // namespace rubato
