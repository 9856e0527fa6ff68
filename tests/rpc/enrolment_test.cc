// Coming in, coming back and being known: authority and admission together.
#include "rubato/rpc/enrolment.h"

#include "tests/rpc/pki_rig.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

class EnrolmentTest : public ::testing::Test {
 protected:
  EnrolmentTest()
      : authority_(Authority::create_or_load(files_, "/run", kNow).value()),
        admission_(Admission::open(files_, "/run").value()),
        key_(WorkerKey::create_or_load(files_, "/worker").value()) {}
  std::string invite() { return admission_->invite(kNow, 3600, "")->secret.reveal(); }
  StatusOr<Enrolled> enrol(const std::string& secret, const std::string& request) {
    return enrol_worker(authority_, *admission_, secret, request, kNow);
  }
  StatusOr<WorkerId> identify(const std::string& pem, int64_t now = kNow) {
    return identify_worker(authority_, *admission_, pem, now);
  }

  MemoryFileSystem files_;
  Authority authority_;
  std::unique_ptr<Admission> admission_;
  WorkerKey key_;
};

TEST_F(EnrolmentTest, AWorkerComesInAndIsKnown) {
  const auto enrolled = enrol(invite(), *key_.request_pem());
  ASSERT_TRUE(enrolled.ok()) << enrolled.status();
  EXPECT_EQ(*identify(enrolled->certificate.pem), enrolled->worker);
  EXPECT_TRUE(
      key_.keep(files_, enrolled->certificate.pem, authority_.certificate_pem(), kNow).ok());
}

TEST_F(EnrolmentTest, ALostAnswerCostsNothing) {
  const std::string secret = invite();
  const auto lost = enrol(secret, *key_.request_pem());
  const auto again = enrol(secret, *key_.request_pem());
  ASSERT_TRUE(lost.ok() && again.ok()) << again.status();
  EXPECT_EQ(again->worker, lost->worker);
  EXPECT_EQ(*identify(again->certificate.pem), again->worker);
  EXPECT_FALSE(enrol(secret, make_request()).ok());
}

TEST_F(EnrolmentTest, ABadRequestDoesNotUseTheSecretUp) {
  const std::string secret = invite();
  EXPECT_TRUE(absl::IsPermissionDenied(enrol(secret, request_of(rsa_key(1024))).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(enrol(secret, "nothing").status()));
  EXPECT_TRUE(enrol(secret, *key_.request_pem()).ok());
}

TEST_F(EnrolmentTest, AWorkerRenewsEvenAfterItsCertificateEnded) {
  const auto enrolled = enrol(invite(), *key_.request_pem()).value();
  const int64_t later = kNow + 3 * kDayS;
  EXPECT_TRUE(absl::IsPermissionDenied(identify(enrolled.certificate.pem, later).status()));
  const auto renewed = renew_worker(authority_, *admission_, *key_.request_pem(), later);
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_EQ(renewed->worker, enrolled.worker);
  EXPECT_EQ(*identify(renewed->certificate.pem, later), enrolled.worker);
  EXPECT_TRUE(absl::IsPermissionDenied(
      renew_worker(authority_, *admission_, make_request(), later).status()));
}

TEST_F(EnrolmentTest, ARevokedWorkerIsOutAtOnce) {
  const auto enrolled = enrol(invite(), *key_.request_pem()).value();
  ASSERT_TRUE(admission_->revoke(enrolled.worker).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(identify(enrolled.certificate.pem).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(
      renew_worker(authority_, *admission_, *key_.request_pem(), kNow).status()));
}

TEST_F(EnrolmentTest, ACertificateThatWasNeverRecordedDoesNotCount) {
  const auto enrolled = enrol(invite(), *key_.request_pem()).value();
  const auto unrecorded = authority_.sign_worker(*key_.request_pem(), enrolled.worker, kNow);
  EXPECT_TRUE(absl::IsPermissionDenied(identify(unrecorded->pem).status()));
}

}  // namespace
}  // namespace rubato
