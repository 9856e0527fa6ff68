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

}  // namespace rubato
