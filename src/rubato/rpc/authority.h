// The coordinator's built-in certificate authority. It is made once per run directory and stays:
//
//   DIR/pki/authority.key   its private key, P-256, PKCS #8
//   DIR/pki/authority.crt   its certificate, signed by itself
//
// The key is kept as key_file.h says; no function here hands it out.
//
// It signs servers (new key and certificate at each start, in memory only) and workers, and nobody
// else can. Whoever pins fingerprint() can tell its servers from all others. Times are arguments.
// Const functions may be called by several threads at once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/ids.h"
#include "rubato/rpc/x509.h"
#include "rubato/store/file_system.h"

namespace rubato {

/// The name that every server certificate holds, whatever the machine is called: what a worker
/// checks for, with the authority as its only root.
inline constexpr std::string_view kCoordinatorName = "rubato-coordinator";

inline constexpr int64_t kDayS = 24 * 3600;
inline constexpr int64_t kWorkerCertificateS = kDayS;
inline constexpr int64_t kServerCertificateS = 365 * kDayS;
inline constexpr int64_t kAuthorityCertificateS = 20 * 365 * kDayS;

/// What a server needs to be known by: both as PEM.
struct ServerIdentity {
  Secret private_key;
  std::string chain;  // its certificate, then the authority's, so that a worker finds that there
  int64_t expires_unix_s = 0;
};

struct WorkerCertificate {
  std::string pem;
  std::string serial;  // lower-case hexadecimal
  int64_t expires_unix_s = 0;
};

/// Whom a worker's certificate names.
struct CertifiedWorker {
  WorkerId worker;
  std::string serial;
  int64_t expires_unix_s = 0;
};

class Authority {
 public:
  /// The one of the run directory; made where there is none, under a lock on DIR/pki. Whatever a
  /// crash left in between is completed. FailedPrecondition when a file is missing beside the
  /// other, does not belong to it, or the key is everybody's; DataLoss when one does not read.
  static StatusOr<Authority> create_or_load(FileSystem& files, const std::string& run_dir,
                                            int64_t now_unix_s);

  /// SHA-256 of the certificate's DER in 64 lower-case hexadecimal digits.
  std::string fingerprint() const { return certificate_.fingerprint(); }
  std::string certificate_pem() const { return certificate_.pem(); }
  /// 16 hexadecimal digits, drawn when the authority was made: the organization of all its
  /// certificates.
  std::string run_id() const { return certificate_.organization(); }

  /// A fresh key and a certificate for kCoordinatorName, localhost, 127.0.0.1, ::1 and `hosts`.
  /// InvalidArgument when one of them is none.
  StatusOr<ServerIdentity> issue_server(const std::vector<std::string>& hosts,
                                        int64_t now_unix_s) const;

  /// Subject `CN = worker-N, O = run id`, for a TLS client and nothing else. Of the request only
  /// the key counts: PermissionDenied as parse_request says. It begins up to an hour in the past,
  /// for clocks that are late, and ends `validity_s` [s] from now, 1 to 90 days' worth.
  StatusOr<WorkerCertificate> sign_worker(std::string_view request_pem, WorkerId worker,
                                          int64_t now_unix_s,
                                          int64_t validity_s = kWorkerCertificateS) const;

  /// Checks it again, whatever TLS has checked: PermissionDenied unless this authority signed it
  /// for a worker and it is valid now. Says nothing about revocation: admission.h does.
  StatusOr<CertifiedWorker> worker_of_certificate(std::string_view pem, int64_t now_unix_s) const;

 private:
  Authority(PrivateKey key, Certificate certificate)
      : key_(std::move(key)), certificate_(std::move(certificate)) {}

  PrivateKey key_;
  Certificate certificate_;
};

/// DIR/pki, where the authority lies and which is locked by whoever changes it or
/// DIR/admission.json.
std::string pki_directory(const std::string& run_dir);

}  // namespace rubato
