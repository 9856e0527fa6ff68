// Who calls, and what a secret or a known key is worth.
#include "rubato/rpc/gatekeeper.h"

#include "tests/rpc/pki_rig.h"
#include "tests/rpc/refusals.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

using Code = absl::StatusCode;

class GatekeeperTest : public testing::Test {
 protected:
  Gatekeeper gatekeeper(bool takes_tokens) {
    return {authority_, *admission_, takes_tokens, [this] { return now_; }};
  }
  v1::EnrolRequest request(const std::string& csr_pem) {
    v1::EnrolRequest request;
    request.set_secret(admission_->invite(now_, 3600, "").value().secret.reveal());
    request.set_csr_pem(csr_pem);
    return request;
  }

  MemoryFileSystem files_;
  int64_t now_ = kNow;
  Authority authority_ = make_authority();
  std::unique_ptr<Admission> admission_ = Admission::open(files_, "/run").value();
};

TEST_F(GatekeeperTest, AnEnrolledWorkerIsKnownByItsCertificate) {
  Gatekeeper gate = gatekeeper(false);
  const auto reply = gate.enrol(request(make_request()));
  ASSERT_TRUE(reply.ok()) << reply.status();
  const Caller caller{.certificate_pem = reply->certificate_pem()};
  EXPECT_EQ(gate.identify(caller)->value(), reply->worker());
  now_ += 2 * kDayS;
  expect_refusal(gate.identify(caller).status(), Code::kPermissionDenied, "[");
}

TEST_F(GatekeeperTest, ARevokedWorkerIsNobody) {
  Gatekeeper gate = gatekeeper(true);
  const std::string csr = make_request();
  const auto reply = gate.enrol(request(csr));
  const Caller caller{.certificate_pem = reply->certificate_pem()};
  const Caller by_token{.worker = reply->worker(), .token = reply->token()};
  ASSERT_TRUE(admission_->revoke(WorkerId(reply->worker())).ok());
  expect_refusal(gate.identify(caller).status(), Code::kPermissionDenied, "revoked");
  expect_refusal(gate.identify(by_token).status(), Code::kUnauthenticated, "[door]");
  v1::RenewRequest renewal;
  renewal.set_csr_pem(csr);
  EXPECT_TRUE(absl::IsPermissionDenied(gate.renew(renewal).status()));
}

TEST_F(GatekeeperTest, TokensCountWherePlainTextIsSpokenAlone) {
  Gatekeeper plain = gatekeeper(true);
  const auto reply = plain.enrol(request(make_request()));
  const Caller caller{.worker = reply->worker(), .token = reply->token()};
  EXPECT_EQ(plain.identify(caller)->value(), reply->worker());
  expect_refusal(gatekeeper(false).identify(caller).status(), Code::kUnauthenticated, "[door]");
  EXPECT_EQ(reply->token().size(), 32u);
  EXPECT_THAT(*files_.read_file("/run/admission.json"),
              testing::Not(testing::HasSubstr(reply->token())));
  for (const Caller& wrong :
       {Caller{}, Caller{.worker = reply->worker()}, Caller{.token = reply->token()},
        Caller{.worker = reply->worker() + 1, .token = reply->token()},
        Caller{.worker = reply->worker(), .token = reply->token() + "0"},
        Caller{.worker = reply->worker(), .token = std::string(1000, 'f')}})
    expect_refusal(plain.identify(wrong).status(), Code::kUnauthenticated, "[door]");
}

// The serial of its certificate stands in a file that others may read: it is no secret.
TEST_F(GatekeeperTest, WhatStandsInTheAdmissionTableOpensNothing) {
  Gatekeeper plain = gatekeeper(true);
  const auto reply = plain.enrol(request(make_request()));
  const AdmittedWorker worker = admission_->list()->workers.at(0);
  for (const std::string& text :
       {worker.certificates.at(0).serial, worker.token_hash, worker.key_digest}) {
    const Caller caller{.worker = reply->worker(), .token = text};
    expect_refusal(plain.identify(caller).status(), Code::kUnauthenticated, "[door]");
  }
}

TEST_F(GatekeeperTest, ATokenIsSaidOnceAndTheNextOneEndsIt) {
  Gatekeeper plain = gatekeeper(true);
  const v1::EnrolRequest one = request(make_request());
  const auto first = plain.enrol(one), again = plain.enrol(one);
  ASSERT_TRUE(first.ok() && again.ok()) << again.status();
  EXPECT_NE(first->token(), again->token());
  const Caller old{.worker = first->worker(), .token = first->token()};
  expect_refusal(plain.identify(old).status(), Code::kUnauthenticated, "[door]");
  EXPECT_TRUE(plain.identify({.worker = again->worker(), .token = again->token()}).ok());
  v1::RenewRequest renewal;
  renewal.set_csr_pem(one.csr_pem());
  EXPECT_EQ(plain.renew(renewal)->token(), "") << "whoever was on the way has seen the request";
  EXPECT_EQ(gatekeeper(false).enrol(request(make_request()))->token(), "") << "TLS needs none";
  EXPECT_TRUE(plain.identify({.worker = again->worker(), .token = again->token()}).ok());
}

TEST_F(GatekeeperTest, WhatIsNoCertificateIsNobodys) {
  Gatekeeper gate = gatekeeper(true);
  for (const std::string& pem : {std::string("x"), std::string("-----BEGIN CERTIFICATE-----\n")})
    expect_refusal(gate.identify({.certificate_pem = pem}).status(), Code::kInvalidArgument, "[");
  for (const std::string& pem : {authority_.certificate_pem(), make_authority().certificate_pem()})
    expect_refusal(gate.identify({.certificate_pem = pem}).status(), Code::kPermissionDenied, "[");
}

TEST_F(GatekeeperTest, AKnownKeyGetsItsNextCertificateAndNobodyElse) {
  Gatekeeper gate = gatekeeper(false);
  const std::string csr = make_request();
  const auto first = gate.enrol(request(csr));
  now_ += 10 * kDayS;
  v1::RenewRequest renewal;
  renewal.set_csr_pem(csr);
  const auto next = gate.renew(renewal);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(next->worker(), first->worker());
  EXPECT_EQ(gate.identify({.certificate_pem = next->certificate_pem()})->value(), first->worker());
  renewal.set_csr_pem(make_request());
  EXPECT_TRUE(absl::IsPermissionDenied(gate.renew(renewal).status()));
  renewal.clear_csr_pem();
  EXPECT_FALSE(gate.renew(renewal).ok());
}

TEST_F(GatekeeperTest, ASecretIsUsedUpByOneKey) {
  Gatekeeper gate = gatekeeper(false);
  v1::EnrolRequest one = request(make_request());
  EXPECT_TRUE(gate.enrol(one).ok());
  EXPECT_TRUE(gate.enrol(one).ok()) << "an answer that was lost";
  one.set_csr_pem(make_request());
  expect_refusal(gate.enrol(one).status(), Code::kPermissionDenied, "[");
}

}  // namespace
}  // namespace rubato
