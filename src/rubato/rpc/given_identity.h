// An identity of a PKI that is not ours: certificate, private key and authorities in files that
// somebody else makes and renews.
//
//   certificate   PEM: one's own first, then those between it and the authority
//   key           PEM: PKCS #8, or the older forms of EC and RSA; not encrypted; private
//   authority     PEM: one certificate or several, that the peers' are signed by
//
// Everything is checked when it is read, so that a wrong file is a line at the start and not a
// handshake that fails later. Errors: `[tls] FLAG FILE: got X, want Y`. Times are arguments.
#pragma once

#include <cstdint>
#include <string>

#include "rubato/rpc/x509.h"
#include "rubato/store/file_system.h"

namespace rubato {

struct GivenFiles {
  std::string certificate, key, authority;  // paths; "" all three: there is none
  bool given() const { return !certificate.empty(); }
};

struct GivenIdentity {
  std::string certificate_pem;  // the chain
  Secret key_pem;
  std::string authority_pem;
  std::string key_digest;  // of the public key, as x509.h has it
  int64_t begins_unix_s = 0;
  int64_t expires_unix_s = 0;

  /// When to look whether the files hold the next one: 2/3 of its life are over.
  bool renewal_is_due(int64_t now_unix_s) const {
    return now_unix_s >= begins_unix_s + (expires_unix_s - begins_unix_s) / 3 * 2;
  }
};

/// InvalidArgument unless all three files are named, or none.
Status check_given_files(const GivenFiles& named);

/// `role` is kServer or kClient: what the certificate has to be good for. NotFound and the other
/// errors of reading; FailedPrecondition when everybody may read the key, when it is not the
/// certificate's, or when one of them is not valid now; InvalidArgument for what is none.
StatusOr<GivenIdentity> load_given_identity(FileSystem& files, const GivenFiles& named,
                                            CertificateRole role, int64_t now_unix_s);

}  // namespace rubato
