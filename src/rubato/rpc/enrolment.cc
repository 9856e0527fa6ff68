#include "rubato/rpc/enrolment.h"

namespace rubato {
namespace {

StatusOr<Enrolled> certify(const Authority& authority, Admission& admission, WorkerId worker,
                           std::string_view request_pem, int64_t now_unix_s, int64_t validity_s) {
  RUBATO_ASSIGN_OR_RETURN(WorkerCertificate certificate,
                          authority.sign_worker(request_pem, worker, now_unix_s, validity_s));
  RUBATO_RETURN_IF_ERROR(admission.record_certificate(worker, certificate.serial,
                                                      certificate.expires_unix_s, now_unix_s));
  return Enrolled{worker, std::move(certificate)};
}

}  // namespace

StatusOr<Enrolled> enrol_worker(const Authority& authority, Admission& admission,
                                std::string_view secret, std::string_view request_pem,
                                int64_t now_unix_s, int64_t validity_s) {
  RUBATO_ASSIGN_OR_RETURN(const PublicKey key, parse_request("request", request_pem));
  RUBATO_ASSIGN_OR_RETURN(const WorkerId worker, admission.enrol(secret, key.digest(), now_unix_s));
  return certify(authority, admission, worker, request_pem, now_unix_s, validity_s);
}

StatusOr<Enrolled> renew_worker(const Authority& authority, Admission& admission,
                                std::string_view request_pem, int64_t now_unix_s,
                                int64_t validity_s) {
  RUBATO_ASSIGN_OR_RETURN(const PublicKey key, parse_request("request", request_pem));
  RUBATO_ASSIGN_OR_RETURN(const WorkerId worker, admission.worker_of_key(key.digest()));
  return certify(authority, admission, worker, request_pem, now_unix_s, validity_s);
}

StatusOr<WorkerId> identify_worker(const Authority& authority, const Admission& admission,
                                   std::string_view certificate_pem, int64_t now_unix_s) {
  RUBATO_ASSIGN_OR_RETURN(const CertifiedWorker certified,
                          authority.worker_of_certificate(certificate_pem, now_unix_s));
  if (!admission.is_allowed(certified.worker, certified.serial))
    return absl::PermissionDeniedError(cat("[admission] got a certificate of worker ",
                                           certified.worker,
                                           " that was revoked or replaced, want a present one"));
  return certified.worker;
}

}  // namespace rubato
