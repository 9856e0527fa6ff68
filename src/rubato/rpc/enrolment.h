// The door of a cluster in three questions, each of them authority and admission together: who
// comes in with a secret, who comes back with a key, who is it that speaks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rubato/rpc/admission.h"
#include "rubato/rpc/authority.h"

namespace rubato {

struct Enrolled {
  WorkerId worker;
  WorkerCertificate certificate;
};

/// A worker for a secret and a signing request. The request is judged first, so that a bad one does
/// not use the secret up. Errors are those of parse_request and Admission::enrol.
StatusOr<Enrolled> enrol_worker(const Authority& authority, Admission& admission,
                                std::string_view secret, std::string_view request_pem,
                                int64_t now_unix_s, int64_t validity_s = kWorkerCertificateS);

/// Another certificate for a key that has enrolled, before or after its last one has ended.
/// PermissionDenied when the key is unknown or revoked.
StatusOr<Enrolled> renew_worker(const Authority& authority, Admission& admission,
                                std::string_view request_pem, int64_t now_unix_s,
                                int64_t validity_s = kWorkerCertificateS);

/// Whose certificate it is. PermissionDenied unless the authority signed it, it is valid now, and
/// the worker is not revoked. Never waits for the disk.
StatusOr<WorkerId> identify_worker(const Authority& authority, const Admission& admission,
                                   std::string_view certificate_pem, int64_t now_unix_s);

}  // namespace rubato
