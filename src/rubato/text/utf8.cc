// Text is mostly ASCII, so eight bytes are tested at a time and only the rest is decoded.
#include "rubato/text/utf8.h"

#include <cstdint>
#include <cstring>

namespace rubato {

namespace {

/// What may follow a lead byte: length of the character and the range of its second byte; length 0
/// when no character begins so. Third and fourth bytes are always 80..BF.
struct Lead {
  size_t length;
  uint8_t second_min, second_max;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1, 0x80, 0xBF};
  if (byte < 0xC2) return {0, 0, 0};  // continuation bytes and overlong C0, C1
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};  // overlong below
  if (byte == 0xED) return {3, 0x80, 0x9F};  // surrogates above
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};  // overlong below
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};  // above U+10FFFF
  return {0, 0, 0};
}

/// Bytes of `text` that fit the character its first byte begins; the whole character when equal to
/// lead.length.
size_t matching_bytes(std::string_view text, Lead lead) {
  size_t n = 1;
  for (; n < lead.length && n < text.size(); ++n) {
    const auto byte = static_cast<uint8_t>(text[n]);
    const uint8_t low = n == 1 ? lead.second_min : 0x80;
    const uint8_t high = n == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) break;
  }
  return n;
}

}  // namespace

size_t valid_utf8_prefix(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (uint64_t eight; i + 8 <= text.size()) {
      std::memcpy(&eight, text.data() + i, 8);
      if ((eight & 0x8080808080808080u) == 0) {
        i += 8;
        continue;
      }
    }
    const Lead lead = lead_of(static_cast<uint8_t>(text[i]));
    if (lead.length == 0 || matching_bytes(text.substr(i), lead) < lead.length) return i;
    i += lead.length;
  }
  return i;
}

bool is_incomplete_utf8(std::string_view rest) {
  if (rest.empty()) return false;
  const Lead lead = lead_of(static_cast<uint8_t>(rest[0]));
  return rest.size() < lead.length && matching_bytes(rest, lead) == rest.size();
}

}  // namespace rubato
