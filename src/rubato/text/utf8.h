// UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF (Unicode 15, table
// 3-7).
#pragma once

#include <cstddef>
#include <string_view>

namespace rubato {

/// [bytes] length of the valid prefix of `text`; text.size() when all of it is valid. A character
/// cut off by the end of `text` is not part of it.
size_t valid_utf8_prefix(std::string_view text);

/// `rest` is a beginning of a character that more bytes could complete: the difference between
/// "cut off" and "wrong" behind a valid prefix. Empty text is not.
bool is_incomplete_utf8(std::string_view rest);

}  // namespace rubato
