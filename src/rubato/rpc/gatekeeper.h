// Who calls: the transport's question, answered by authority and admission.
#pragma once

#include <functional>
#include <string>

#include "rubato/rpc/admission.h"
#include "rubato/rpc/authority.h"
#include "rubato/v1/enrolment.pb.h"

namespace rubato {

/// Who may be calling, as the transport sees it: a certificate, or a token.
struct Caller {
  std::string certificate_pem = {};  // of the peer, verified by TLS; "" without TLS
  int64_t worker = -1;               // with `token`, without TLS
  std::string token = {};            // that its enrolment gave it
};

/// Thread-safe. Tokens open the door only where the coordinator was told to speak plain text.
class Gatekeeper {
 public:
  /// Authority and admission outlive it; `now_unix_s` is the time of day, `validity_s` [s] what
  /// certificates last.
  Gatekeeper(const Authority& authority, Admission& admission, bool takes_tokens,
             std::function<int64_t()> now_unix_s, int64_t validity_s = kWorkerCertificateS)
      : authority_(&authority),
        admission_(admission),
        takes_tokens_(takes_tokens),
        now_unix_s_(std::move(now_unix_s)),
        validity_s_(validity_s) {}

  /// Of a PKI that is not ours: whoever TLS has verified is a worker, by its key. Nobody enrols.
  Gatekeeper(Admission& admission, std::function<int64_t()> now_unix_s)
      : authority_(nullptr),
        admission_(admission),
        takes_tokens_(false),
        now_unix_s_(std::move(now_unix_s)),
        validity_s_(0) {}

  /// Unauthenticated for somebody who shows nothing, PermissionDenied for whoever may not enter.
  StatusOr<WorkerId> identify(const Caller& caller) const;
  /// A secret and a request make a worker. Where tokens open the door the reply holds one, which
  /// ends the one before. FailedPrecondition where the PKI is not ours.
  StatusOr<v1::EnrolReply> enrol(const v1::EnrolRequest& request);
  /// A known key gets its next certificate, and no token: a request is no secret.
  StatusOr<v1::EnrolReply> renew(const v1::RenewRequest& request);

 private:
  StatusOr<WorkerId> identify_given(const std::string& certificate_pem) const;
  Status check_enrolment() const;

  const Authority* authority_;
  Admission& admission_;
  bool takes_tokens_;
  std::function<int64_t()> now_unix_s_;
  int64_t validity_s_;
};

}  // namespace rubato
