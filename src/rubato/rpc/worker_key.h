// A worker's identity, on the worker's machine, in a directory of its own for one coordinator:
//
//   worker.key       its private key, P-256, PKCS #8; made here, mode 0600, never sent
//   worker.crt       the latest certificate that the coordinator gave it
//   authority.crt    the coordinator's authority: its only root
//   worker.token     where plain text is spoken: its number and what it shows instead, mode 0600
//
// Requests are made from the key whenever one is needed. A worker that still has its key is known
// to the coordinator after its certificate has ended (enrolment.h). One process at a time uses a
// directory: whoever runs the worker locks it. Times are arguments.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "rubato/rpc/x509.h"
#include "rubato/store/file_system.h"

namespace rubato {

/// What a worker has been given, as PEM.
struct WorkerCredentials {
  std::string certificate;
  std::string authority;
  int64_t begins_unix_s = 0;
  int64_t expires_unix_s = 0;

  /// When to ask for the next one: 2/3 of its life are over.
  int64_t renewal_unix_s() const;
  bool renewal_is_due(int64_t now_unix_s) const { return now_unix_s >= renewal_unix_s(); }
};

/// What a worker shows where plain text is spoken.
struct WorkerToken {
  int64_t worker = 0;
  Secret token;
};

class WorkerKey {
 public:
  /// The key in the directory, which is made with its parents where it is missing.
  /// FailedPrecondition when everybody may read the key, DataLoss when it does not read.
  static StatusOr<WorkerKey> create_or_load(FileSystem& files, const std::string& directory);

  /// PKCS #8 in PEM, for TLS.
  StatusOr<Secret> private_key_pem() const { return key_.pem(); }
  /// A certificate signing request with an empty subject.
  StatusOr<std::string> request_pem() const { return key_.request_pem(); }
  /// What the coordinator knows the key by: SHA-256 of its SubjectPublicKeyInfo.
  std::string public_key_digest() const { return key_.public_key().digest(); }

  /// Checks that the certificate is of this key and signed by the authority, and keeps both.
  /// PermissionDenied when it is not.
  StatusOr<WorkerCredentials> keep(FileSystem& files, std::string_view certificate_pem,
                                   std::string_view authority_pem, int64_t now_unix_s) const;

  /// Keeps a token: it is said only once.
  Status keep_token(FileSystem& files, const WorkerToken& token) const;
  /// The one that was kept, if there is one. DataLoss when the file is damaged.
  StatusOr<std::optional<WorkerToken>> token(FileSystem& files) const;

  /// What was kept, expired or not; nothing when nothing was, or when it belongs to another key:
  /// the worker then has to ask again.
  StatusOr<std::optional<WorkerCredentials>> credentials(FileSystem& files) const;

 private:
  WorkerKey(std::string directory, PrivateKey key)
      : directory_(std::move(directory)), key_(std::move(key)) {}

  std::string directory_;
  PrivateKey key_;
};

}  // namespace rubato
