// What this room's tests share: a moment, an authority in memory, and signing requests that our own
// code would not make.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "rubato/rpc/authority.h"
#include "rubato/rpc/worker_key.h"
#include "rubato/store/memory_file_system.h"

struct evp_pkey_st;  // OpenSSL's

namespace rubato {

inline constexpr int64_t kNow = 1'900'000'000;  // unix seconds

/// An authority of its own, made at kNow.
Authority make_authority();

/// A fresh key of P-256.
PrivateKey make_key();
/// A request of a fresh key.
std::string make_request();

using Key = std::shared_ptr<evp_pkey_st>;
/// Keys that PrivateKey does not make: EC on a curve by its name, RSA of so many bits, Ed25519.
Key ec_key(const std::string& curve);
Key ec_key_with_explicit_curve();
Key rsa_key(int bits);
Key ed25519_key();

struct RequestSubject {
  std::string common_name;     // none when empty
  bool wants_to_sign = false;  // asks for the extensions of an authority
};
std::string request_of(const Key& key, const RequestSubject& subject = {});

/// A PEM block with the lowest bit of one byte of its DER turned over; counted from the end.
std::string with_flipped_byte(const std::string& label, const std::string& pem, size_t from_end);

/// Cuts the power after every `stride`-th unit of `work`, with each of the things that a crash may
/// leave (each beginning at another unit, so that a stride of 4 meets every unit once), restarts,
/// and calls `check` with whether the work had said it was done. `prepare` runs before, in peace.
void for_crashes(int64_t stride, const std::function<void(MemoryFileSystem&)>& prepare,
                 const std::function<bool(MemoryFileSystem&)>& work,
                 const std::function<void(MemoryFileSystem&, bool done)>& check);

}  // namespace rubato
