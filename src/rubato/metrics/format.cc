#include "rubato/metrics/format.h"

#include <array>
#include <charconv>
#include <cmath>

#include "rubato/base/text.h"

namespace rubato {

std::string fixed(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  std::array<char, 400> buffer;  // 1e308 has 309 digits before the point
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::fixed, digits);
  std::string text(buffer.data(), end.ptr);
  // -0.00 reads as if there were a difference.
  if (text.front() == '-' && text.find_first_not_of("-0.") == std::string::npos) text.erase(0, 1);
  return text;
}

std::string signed_fixed(double value, int digits) {
  const std::string text = fixed(value, digits);
  return text.front() == '-' ? text : cat('+', text);
}

std::string grouped(int64_t value) {
  std::string text = cat(value);
  const size_t first = text.front() == '-' ? 1 : 0;
  for (size_t i = text.size(); i > first + 3;) {
    i -= 3;
    text.insert(i, ",");
  }
  return text;
}

std::string short_count(double value) {
  if (!std::isfinite(value)) return "-";
  static constexpr std::array<std::string_view, 5> kSuffixes = {"", "k", "M", "G", "T"};
  size_t suffix = 0;
  // 999.5 would print as 1000.
  while (std::fabs(value) >= 999.5 && suffix + 1 < kSuffixes.size()) {
    value /= 1000;
    ++suffix;
  }
  const double size = std::fabs(value);
  const int digits = size >= 99.95 || (suffix == 0 && value == std::round(value)) ? 0
                     : size >= 9.995                                              ? 1
                                                                                  : 2;
  return cat(fixed(value, digits), kSuffixes[suffix]);
}

std::string clock_time(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "-";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  const auto two_digits = [](int64_t n) { return cat(n < 10 ? "0" : "", n); };
  if (whole < 60) return cat(whole, "s");
  if (whole < 3600) return cat(whole / 60, ":", two_digits(whole % 60));
  return cat(whole / 3600, ":", two_digits(whole / 60 % 60), ":", two_digits(whole % 60));
}

std::string escape_markup(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
  }
  return out;
}

}  // namespace rubato
