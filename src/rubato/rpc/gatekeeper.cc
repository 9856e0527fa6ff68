#include "rubato/rpc/gatekeeper.h"

#include "rubato/rpc/enrolment.h"

namespace rubato {
namespace {

v1::EnrolReply reply_of(const Enrolled& enrolled) {
  v1::EnrolReply reply;
  reply.set_worker(enrolled.worker.value());
  reply.set_certificate_pem(enrolled.certificate.pem);
  return reply;
}

}  // namespace

StatusOr<WorkerId> Gatekeeper::identify(const Caller& caller) const {
  if (!caller.certificate_pem.empty() && authority_ == nullptr)
    return identify_given(caller.certificate_pem);
  if (!caller.certificate_pem.empty())
    return identify_worker(*authority_, admission_, caller.certificate_pem, now_unix_s_());
  if (takes_tokens_ && !caller.token.empty() &&
      admission_.is_token_of(WorkerId(caller.worker), caller.token)) {
    return WorkerId(caller.worker);
  }
  return absl::UnauthenticatedError(
      "[door] got a caller without a certificate, want a worker's; join with a join string");
}

// TLS looks at a certificate when a connection begins, which may outlive it.
StatusOr<WorkerId> Gatekeeper::identify_given(const std::string& certificate_pem) const {
  RUBATO_ASSIGN_OR_RETURN(const Certificate certificate,
                          Certificate::parse("certificate of the caller", certificate_pem));
  const int64_t now = now_unix_s_();
  if (now < certificate.not_before_unix_s() || now > certificate.not_after_unix_s()) {
    return absl::PermissionDeniedError(
        cat("[door] got a certificate valid from ", certificate.not_before_unix_s(), " to ",
            certificate.not_after_unix_s(), " (unix seconds), want one valid at ", now));
  }
  RUBATO_ASSIGN_OR_RETURN(const PublicKey key, certificate.public_key());
  const std::string name = certificate.common_name();
  return admission_.admit(key.digest(), is_label(name) ? name : "", now);
}

Status Gatekeeper::check_enrolment() const {
  if (authority_ != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "[door] got an enrolment, want a certificate of the PKI that the coordinator was given "
      "(--tls-ca); join strings are of no use there");
}

StatusOr<v1::EnrolReply> Gatekeeper::enrol(const v1::EnrolRequest& request) {
  RUBATO_RETURN_IF_ERROR(check_enrolment());
  RUBATO_ASSIGN_OR_RETURN(const Enrolled enrolled,
                          enrol_worker(*authority_, admission_, request.secret(), request.csr_pem(),
                                       now_unix_s_(), validity_s_));
  v1::EnrolReply reply = reply_of(enrolled);
  if (takes_tokens_) {
    RUBATO_ASSIGN_OR_RETURN(const Secret token, admission_.draw_token(enrolled.worker));
    reply.set_token(token.reveal());
  }
  return reply;
}

StatusOr<v1::EnrolReply> Gatekeeper::renew(const v1::RenewRequest& request) {
  RUBATO_RETURN_IF_ERROR(check_enrolment());
  RUBATO_ASSIGN_OR_RETURN(
      const Enrolled enrolled,
      renew_worker(*authority_, admission_, request.csr_pem(), now_unix_s_(), validity_s_));
  return reply_of(enrolled);
}

}  // namespace rubato
