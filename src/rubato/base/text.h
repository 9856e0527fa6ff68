// Building text from pieces. Debian's Abseil is built without std::string_view, so its StrCat
// cannot take one.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/string_view.h"

#include "rubato/base/ids.h"

namespace rubato {

inline void append_piece(std::string& out, std::string_view piece) { out.append(piece); }
inline void append_piece(std::string& out, const char* piece) { out.append(piece); }
inline void append_piece(std::string& out, absl::string_view piece) {
  out.append(piece.data(), piece.size());
}
inline void append_piece(std::string& out, const std::string& piece) { out.append(piece); }
inline void append_piece(std::string& out, bool value) { out.append(value ? "true" : "false"); }
inline void append_piece(std::string& out, char value) { out.push_back(value); }
template <class T>
requires(std::integral<T> || std::floating_point<T>) void append_piece(std::string& out, T value) {
  char buffer[40];
  if constexpr (std::floating_point<T>) {
    // Six digits read well in messages; records use shortest round-trip text elsewhere.
    out.append(
        buffer,
        std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, 6).ptr);
  } else {
    out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
  }
}
template <class Tag>
void append_piece(std::string& out, StrongInt<Tag> id) {
  append_piece(out, id.value());
}

/// The pieces one after another: strings, integers, reals with six digits, bools as words, ids as
/// their numbers.
template <class... Pieces>
std::string cat(const Pieces&... pieces) {
  std::string out;
  (append_piece(out, pieces), ...);
  return out;
}

/// `items` with `separator` between them.
template <class Range>
std::string join(const Range& items, std::string_view separator) {
  std::string out;
  bool first = true;
  for (const auto& item : items) {
    if (!first) out.append(separator);
    append_piece(out, item);
    first = false;
  }
  return out;
}

}  // namespace rubato
