// What a cluster's identity needs of cryptography, behind plain types: random bytes, SHA-256,
// comparing without a timing trace, and the secrets of invitations.
//
// Random bytes are the operating system's, through OpenSSL. Keys, serial numbers, salts and secrets
// are the one place where nothing may be reproducible: whoever can repeat a draw can enter. Nothing
// that a run computes depends on them.
#pragma once

#include <string>
#include <string_view>

#include "rubato/base/status.h"
#include "rubato/rpc/secret.h"

namespace rubato {

/// Internal when the system has no randomness to give.
StatusOr<std::string> random_bytes(int count);
/// The 32 bytes of the digest.
std::string sha256(std::string_view bytes);
/// Two lower-case digits a byte.
std::string to_hex(std::string_view bytes);
/// `digits` lower-case hexadecimal digits and nothing else.
bool is_hex(std::string_view text, size_t digits);
/// Takes as long for equal as for unequal texts of one length; the length is no secret.
bool equal_in_constant_time(std::string_view a, std::string_view b);

/// What OpenSSL last complained about in this thread, in a few words, and forgets all it complained
/// about: what is left would be taken for the error of somebody's next call.
std::string take_openssl_error();

/// What an invitation hands out: 160 random bits as 32 characters a-z2-7 (base32 of RFC 4648 in
/// lower case), so that a salted SHA-256 is all that has to be stored of it.
StatusOr<Secret> draw_join_secret();
bool is_join_secret(std::string_view text);

}  // namespace rubato
