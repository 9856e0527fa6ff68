// Keys and certificates: what is written reads as the same, and only the pinned authority counts.
#include "rubato/rpc/x509.h"

#include "tests/rpc/pki_rig.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/rpc/pem.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

CertificateTerms terms_of(CertificateRole role, const std::string& name) {
  return {role, name, "run", {}, kNow - 60, kNow + kDayS};
}

TEST(X509, KeysReadAsTheyWereWritten) {
  const PrivateKey key = make_key();
  const std::string pem = key.pem()->reveal();
  const auto again = PrivateKey::parse("key", pem);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->public_key().digest(), key.public_key().digest());
  EXPECT_EQ(again->pem()->reveal(), pem);
  EXPECT_NE(make_key().public_key().digest(), key.public_key().digest());
  EXPECT_EQ(parse_request("request", *key.request_pem())->digest(), key.public_key().digest());
}

TEST(X509, AnEncryptedKeyIsRefusedAndNobodyAsked) {
  const std::string pem =
      "-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n"
      "-----END PRIVATE KEY-----\n";
  const auto key = PrivateKey::parse("key", pem);
  EXPECT_EQ(key.status().message(),
            "[x509] key: got an encrypted block, want one PEM block PRIVATE KEY");
}

TEST(X509, ACertificateSaysWhatItsTermsSaid) {
  const PrivateKey key = make_key();
  const auto root = Certificate::self_signed(terms_of(CertificateRole::kAuthority, "root"), key);
  ASSERT_TRUE(root.ok()) << root.status();
  EXPECT_EQ(root->common_name(), "root");
  EXPECT_EQ(root->organization(), "run");
  EXPECT_EQ(root->not_before_unix_s(), kNow - 60);
  EXPECT_EQ(root->not_after_unix_s(), kNow + kDayS);
  EXPECT_TRUE(root->is_of(key.public_key()));
  EXPECT_FALSE(root->is_of(make_key().public_key()));
  EXPECT_EQ(root->serial().size() % 2, 0u);
  const auto again = Certificate::parse("again", root->pem());
  EXPECT_EQ(again->fingerprint(), root->fingerprint());
  EXPECT_EQ(again->serial(), root->serial());
}

TEST(X509, NobodyStandsBetweenAuthorityAndSubject) {
  const PrivateKey key = make_key(), middle_key = make_key();
  const auto root =
      Certificate::self_signed(terms_of(CertificateRole::kAuthority, "root"), key).value();
  // Its authority signed a worker, and the worker signs another.
  const auto middle = Certificate::issue(terms_of(CertificateRole::kClient, "worker-1"),
                                         middle_key.public_key(), root, key)
                          .value();
  const auto leaf = Certificate::issue(terms_of(CertificateRole::kClient, "worker-2"),
                                       make_key().public_key(), middle, middle_key)
                        .value();
  EXPECT_TRUE(middle.check("middle", root, CertificateRole::kClient, "", kNow).ok());
  EXPECT_FALSE(leaf.check("leaf", root, CertificateRole::kClient, "", kNow).ok());
  EXPECT_FALSE(leaf.check("leaf", middle, CertificateRole::kClient, "", kNow).ok());
  // The same name is not the same key.
  const auto twin =
      Certificate::self_signed(terms_of(CertificateRole::kAuthority, "root"), make_key()).value();
  EXPECT_FALSE(middle.check("middle", twin, CertificateRole::kClient, "", kNow).ok());
}

TEST(X509, TimesThatCannotBeWrittenAreAnError) {
  CertificateTerms terms = terms_of(CertificateRole::kAuthority, "root");
  terms.not_after_unix_s = int64_t{1} << 60;
  EXPECT_FALSE(Certificate::self_signed(terms, make_key()).ok());
}

TEST(X509, AnAuthorityThatEndedIsNamedByItsTimes) {
  const PrivateKey key = make_key();
  const auto root =
      Certificate::self_signed(terms_of(CertificateRole::kAuthority, "root"), key).value();
  CertificateTerms longer = terms_of(CertificateRole::kClient, "worker-1");
  longer.not_after_unix_s = kNow + 9 * kDayS;
  const auto leaf = Certificate::issue(longer, make_key().public_key(), root, key).value();
  const Status status = leaf.check("leaf", root, CertificateRole::kClient, "", kNow + 2 * kDayS);
  EXPECT_THAT(std::string(status.message()), HasSubstr(cat(" to ", kNow + kDayS, " (unix")));
}

}  // namespace
}  // namespace rubato
