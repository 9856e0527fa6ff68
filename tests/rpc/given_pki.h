// Somebody else's PKI, for tests: an authority of its own, and keys in the forms that other
// programs write.
#pragma once

#include <string>

#include "tests/rpc/pki_rig.h"

namespace rubato {

enum class GivenKey { kEc, kOldEc, kRsa, kOldRsa };  // old: the forms before PKCS #8

class GivenPki {
 public:
  /// Valid around `now_unix_s`, for a year.
  explicit GivenPki(int64_t now_unix_s = kNow);

  struct Issued {
    std::string certificate_pem, key_pem;
  };
  /// For localhost, and for a year from `now_unix_s`.
  Issued issue(CertificateRole role, const std::string& name, int64_t now_unix_s,
               GivenKey kind = GivenKey::kEc) const;
  /// The next certificate of the same key.
  std::string renew(const Issued& issued, int64_t now_unix_s) const;
  std::string authority_pem() const { return authority_.pem(); }

 private:
  std::string certify(const PrivateKey& key, CertificateRole role, const std::string& name,
                      int64_t now_unix_s) const;
  PrivateKey key_;
  Certificate authority_;
};

}  // namespace rubato
