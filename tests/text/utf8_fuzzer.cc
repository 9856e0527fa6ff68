// libFuzzer over UTF-8: the fast validation against a slow one that decodes every character.
#include <array>
#include <string>

#include "tests/fuzz/fuzzing.h"

#include "rubato/text/utf8.h"

namespace rubato {
namespace {

/// [bytes] of the character that `text` begins with; 0 when that is none.
size_t character_bytes(std::string_view text) {
  constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};  // by length
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[i])); };
  if (text.empty()) return 0;
  if (byte(0) < 0x80) return 1;
  const size_t length = byte(0) >> 5 == 6 ? 2 : byte(0) >> 4 == 14 ? 3 : byte(0) >> 3 == 30 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  uint32_t code = byte(0) & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if (byte(i) >> 6 != 2) return 0;
    code = code << 6 | (byte(i) & 0x3F);
  }
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return code < kLeast[length] || code > 0x10FFFF || surrogate ? 0 : length;
}

/// Whether some bytes behind `rest` make a character of it.
bool can_complete(const std::string& rest) {
  if (character_bytes(rest) > 0) return character_bytes(rest) > rest.size();
  if (rest.empty() || rest.size() >= 4) return false;
  // The ends of every range that a second byte can have.
  for (const char next : {'\x80', '\x8F', '\x90', '\x9F', '\xA0', '\xBF'}) {
    const std::string longer = rest + next;
    if (character_bytes(longer) == longer.size() || can_complete(longer)) return true;
  }
  return false;
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  const std::string_view text = as_text(data, size);
  size_t valid = 0;
  while (const size_t length = character_bytes(text.substr(valid))) valid += length;
  RUBATO_CHECK(valid_utf8_prefix(text) == valid, "got ", valid_utf8_prefix(text), ", want ", valid);
  const std::string rest(text.substr(valid));
  RUBATO_CHECK(is_incomplete_utf8(rest) == can_complete(rest), "behind byte ", valid);
  return 0;
}
