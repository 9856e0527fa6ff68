#include "rubato/rpc/crypto.h"

#include <algorithm>
#include <cstdint>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

namespace rubato {
namespace {

constexpr int kSecretBytes = 20;
constexpr size_t kSecretCharacters = 32;  // 5 bits each, none left over
constexpr std::string_view kBase32 = "abcdefghijklmnopqrstuvwxyz234567";

/// Five bytes make eight characters; the size is a multiple of five.
std::string to_base32(std::string_view bytes) {
  std::string text;
  uint64_t bits = 0;
  int count = 0;
  for (const char byte : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(byte);
    for (count += 8; count >= 5; count -= 5) text += kBase32[bits >> (count - 5) & 31];
  }
  return text;
}

}  // namespace

StatusOr<std::string> random_bytes(int count) {
  std::string bytes(static_cast<size_t>(count), '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), count) != 1) {
    return absl::InternalError(cat("[crypto] got no random bytes (", take_openssl_error(),
                                   "), want them from the system"));
  }
  return bytes;
}

std::string sha256(std::string_view bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string take_openssl_error() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason != nullptr ? reason : "an error without a name";
}

StatusOr<Secret> draw_join_secret() {
  RUBATO_ASSIGN_OR_RETURN(const std::string bytes, random_bytes(kSecretBytes));
  return Secret(to_base32(bytes));
}

bool is_join_secret(std::string_view text) {
  return text.size() == kSecretCharacters && std::ranges::all_of(text, [](char c) {
           return kBase32.find(c) != std::string_view::npos;
         });
}

}  // namespace rubato
