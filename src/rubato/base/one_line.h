// Quoting in messages: an error is one line, whatever the file or the user wrote.
#pragma once

#include <string>
#include <string_view>

namespace rubato {

/// The text with '?' for control characters.
inline std::string one_line(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20) c = '?';
  }
  return out;
}

/// The text as it is, or its first 80 bytes (fewer where a character of UTF-8 would be cut) and
/// `..`.
inline std::string shortened(std::string_view text) {
  constexpr size_t kLongest = 80;
  if (text.size() <= kLongest) return std::string(text);
  size_t end = kLongest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "..";
}

}  // namespace rubato
