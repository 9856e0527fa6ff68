// libFuzzer over join strings: the input as it is, and with right check digits behind it, which no
// mutation would find. What reads is written as the same word; errors are one line without it.
#include <cstdio>
#include <string>

#include "tests/fuzz/fuzzing.h"

#include "rubato/rpc/join_string.h"

namespace rubato {
namespace {

/// CRC-32 by the definition: the remainder of the bits, first of each byte last, after inversion.
std::string check_digits(std::string_view text) {
  uint32_t remainder = ~uint32_t{0};
  for (const char c : text) {
    for (int bit = 0; bit < 8; ++bit) {
      const uint32_t next = (static_cast<unsigned char>(c) >> bit & 1) ^ (remainder & 1);
      remainder = remainder >> 1 ^ (next != 0 ? 0xedb88320 : 0);
    }
  }
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(~remainder));
  return digits;
}

void check_word(std::string_view input) {
  const auto join = parse_join_string(input);
  if (!join.ok()) return check_error(join.status(), "[join]");
  const auto text = join->text();
  RUBATO_CHECK(text.ok(), "a word that was read cannot be written");
  RUBATO_CHECK(input.find(*text) != std::string_view::npos, "another word: ", *text);
  RUBATO_CHECK(
      text->find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-:,/") == std::string::npos,
      "no word of a shell: ", *text);
  JoinString other = *join;
  other.secret = Secret("another");
  RUBATO_CHECK(join->redacted() == other.redacted(), "the secret can be seen");
  for (const Address& address : join->addresses)
    RUBATO_CHECK(parse_address(to_text(address)).value() == address, to_text(address));
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  const std::string_view input = as_text(data, size);
  check_word(input);
  check_word(cat(input, check_digits(input)));
  const auto address = parse_address(input);
  if (!address.ok()) check_error(address.status(), "[address]");
  return 0;
}
