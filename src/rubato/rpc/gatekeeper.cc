#include "rubato/rpc/gatekeeper.h"

#include "rubato/rpc/enrolment.h"

namespace rubato {
namespace {

v1::EnrolReply reply_of(const Enrolled& enrolled) {
  v1::EnrolReply reply;
  reply.set_worker(enrolled.worker.value());
  reply.set_certificate_pem(enrolled.certificate.pem);
  reply.set_token(enrolled.certificate.serial);
  return reply;
}

}  // namespace

StatusOr<WorkerId> Gatekeeper::identify(const Caller& caller) const {
  if (!caller.certificate_pem.empty())
    return identify_worker(authority_, admission_, caller.certificate_pem, now_unix_s_());
  if (takes_tokens_ && !caller.token.empty() &&
      admission_.is_allowed(WorkerId(caller.worker), caller.token)) {
    return WorkerId(caller.worker);
  }
  return absl::UnauthenticatedError(
      "[door] got a caller without a certificate, want a worker's; join with a join string");
}

StatusOr<v1::EnrolReply> Gatekeeper::enrol(const v1::EnrolRequest& request) {
  RUBATO_ASSIGN_OR_RETURN(const Enrolled enrolled,
                          enrol_worker(authority_, admission_, request.secret(), request.csr_pem(),
                                       now_unix_s_(), validity_s_));
  return reply_of(enrolled);
}

StatusOr<v1::EnrolReply> Gatekeeper::renew(const v1::RenewRequest& request) {
  RUBATO_ASSIGN_OR_RETURN(
      const Enrolled enrolled,
      renew_worker(authority_, admission_, request.csr_pem(), now_unix_s_(), validity_s_));
  return reply_of(enrolled);
}

}  // namespace rubato
