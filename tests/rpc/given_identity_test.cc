// Certificates of somebody else's PKI: what is taken, what is refused at the start and in which
// words, and who a worker is that shows one.
#include "rubato/rpc/given_identity.h"

#include "tests/rpc/given_pki.h"
#include "tests/rpc/refusals.h"
#include <gtest/gtest.h>

#include "rubato/rpc/gatekeeper.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using Code = absl::StatusCode;

class GivenIdentityTest : public testing::Test {
 protected:
  GivenIdentityTest() { write(pki_.issue(CertificateRole::kServer, "server", kNow)); }
  void write(const GivenPki::Issued& issued) {
    put("/own.crt", issued.certificate_pem);
    put("/own.key", issued.key_pem);
    put("/ca.crt", pki_.authority_pem());
  }
  void put(const std::string& path, const std::string& text) {
    ASSERT_TRUE(files_.replace_private_file(path, text).ok());
  }
  StatusOr<GivenIdentity> load(CertificateRole role = CertificateRole::kServer,
                               int64_t now = kNow) {
    return load_given_identity(files_, {"/own.crt", "/own.key", "/ca.crt"}, role, now);
  }

  GivenPki pki_;
  MemoryFileSystem files_;
};

TEST_F(GivenIdentityTest, WhatFitsIsTaken) {
  const auto identity = load();
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->key_digest.size(), 64u);
  EXPECT_FALSE(identity->renewal_is_due(kNow));
  EXPECT_TRUE(identity->renewal_is_due(identity->expires_unix_s - 1));
}

TEST_F(GivenIdentityTest, ChainsBundlesAndCommentsAreRead) {
  const std::string own = *files_.read_file("/own.crt"), between = GivenPki().authority_pem();
  put("/own.crt", "subject=server\n" + own + "issued by\n" + between);
  put("/ca.crt", between + pki_.authority_pem());
  const auto identity = load();
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->certificate_pem, own + between);
}

TEST_F(GivenIdentityTest, KeysOfOtherMakersAreRead) {
  for (const GivenKey kind : {GivenKey::kRsa, GivenKey::kOldRsa, GivenKey::kOldEc}) {
    write(pki_.issue(CertificateRole::kServer, "server", kNow, kind));
    const auto identity = load();
    EXPECT_TRUE(identity.ok()) << identity.status();
  }
}

TEST_F(GivenIdentityTest, WhatIsMissingOrDoesNotReadIsNamed) {
  for (const auto& [path, flag] :
       {std::pair("/own.crt", "--tls-cert"), {"/own.key", "--tls-key"}, {"/ca.crt", "--tls-ca"}}) {
    const std::string text = *files_.read_file(path);
    ASSERT_TRUE(files_.remove_file(path).ok());
    expect_refusal(load().status(), Code::kNotFound, flag);
    for (const std::string& wrong : {std::string(), std::string("x"), text.substr(0, 100)}) {
      put(path, wrong);
      expect_refusal(load().status(), Code::kInvalidArgument, cat(flag, " ", path));
    }
    put(path, text);
  }
  EXPECT_TRUE(load().ok());
}

TEST_F(GivenIdentityTest, WhatDoesNotFitIsRefused) {
  const GivenPki::Issued other = pki_.issue(CertificateRole::kServer, "other", kNow);
  put("/own.key", other.key_pem);
  expect_refusal(load().status(), Code::kFailedPrecondition,
                 "[tls] --tls-key /own.key: got a key that does not fit the certificate");
  write(other);
  expect_refusal(load(CertificateRole::kClient).status(), Code::kFailedPrecondition,
                 "[tls] --tls-cert /own.crt: got a certificate that is not for this use");
  expect_refusal(load(CertificateRole::kServer, kNow + 400 * kDayS).status(),
                 Code::kFailedPrecondition,
                 "--tls-cert /own.crt: got a certificate that is expired");
  expect_refusal(load(CertificateRole::kServer, kNow - 400 * kDayS).status(),
                 Code::kFailedPrecondition, "not valid yet");
  put("/ca.crt", other.certificate_pem);
  expect_refusal(load().status(), Code::kFailedPrecondition,
                 "[tls] --tls-ca /ca.crt: got a certificate that may not sign others");
  write(other);
  files_.set_file_access("/own.key", FileAccess::kEveryone);
  expect_refusal(load().status(), Code::kFailedPrecondition, "everybody on this machine may read");
}

TEST(GivenFiles, AllThreeOrNone) {
  EXPECT_TRUE(check_given_files({}).ok());
  EXPECT_TRUE(check_given_files({"a", "b", "c"}).ok());
  expect_refusal(check_given_files({"a", "", ""}), Code::kInvalidArgument, "[tls] got 1 of");
  expect_refusal(check_given_files({"", "b", "c"}), Code::kInvalidArgument, "[tls] got 2 of");
}

// ---- at the door

class GivenDoorTest : public testing::Test {
 protected:
  std::string client(const std::string& name) {
    return pki_.issue(CertificateRole::kClient, name, kNow).certificate_pem;
  }
  StatusOr<WorkerId> identify(const std::string& pem) {
    return gate_.identify({.certificate_pem = pem});
  }

  GivenPki pki_;
  MemoryFileSystem files_;
  int64_t now_ = kNow;
  std::unique_ptr<Admission> admission_ = Admission::open(files_, "/run").value();
  Gatekeeper gate_{*admission_, [this] { return now_; }};
};

TEST_F(GivenDoorTest, AKeyIsAWorkerForGood) {
  const std::string first = client("gpu-1"), second = client("gpu-2");
  EXPECT_EQ(identify(first)->value(), 0);
  EXPECT_EQ(identify(second)->value(), 1);
  EXPECT_EQ(identify(first)->value(), 0);
  EXPECT_EQ(admission_->list()->workers.at(1).label, "gpu-2");
  files_.restart(CrashKeeps::kNothing);
  EXPECT_EQ(Admission::open(files_, "/run").value()->list()->workers.size(), 2u);
}

TEST_F(GivenDoorTest, TheNextCertificateOfAKeyIsTheSameWorker) {
  const GivenPki::Issued first = pki_.issue(CertificateRole::kClient, "gpu-1", kNow);
  EXPECT_EQ(identify(first.certificate_pem)->value(), 0);
  now_ += 300 * kDayS;
  const std::string next = pki_.renew(first, now_);
  EXPECT_NE(next, first.certificate_pem);
  EXPECT_EQ(identify(next)->value(), 0);
}

TEST_F(GivenDoorTest, ARevokedKeyIsNobodys) {
  const std::string pem = client("gpu-1");
  const WorkerId worker = identify(pem).value();
  // By another process, as `rubato workers --revoke` does it.
  ASSERT_TRUE(Admission::open(files_, "/run").value()->revoke(worker).ok());
  ASSERT_TRUE(admission_->refresh().value());
  expect_refusal(identify(pem).status(), Code::kPermissionDenied, "revoked");
  EXPECT_EQ(identify(client("gpu-1"))->value(), 1) << "another key is another worker";
}

TEST_F(GivenDoorTest, WhatHasEndedOrIsNoneOpensNothing) {
  const std::string pem = client("gpu-1");
  now_ += 400 * kDayS;
  expect_refusal(identify(pem).status(), Code::kPermissionDenied, "[door] got a certificate valid");
  expect_refusal(identify("x").status(), Code::kInvalidArgument, "[x509]");
  expect_refusal(identify("").status(), Code::kUnauthenticated, "[door]");
  EXPECT_TRUE(admission_->list()->workers.empty());
}

TEST_F(GivenDoorTest, NobodyEnrolsThere) {
  v1::EnrolRequest request;
  request.set_secret(admission_->invite(kNow, 3600, "").value().secret.reveal());
  request.set_csr_pem(make_request());
  expect_refusal(gate_.enrol(request).status(), Code::kFailedPrecondition, "[door]");
  v1::RenewRequest renewal;
  renewal.set_csr_pem(request.csr_pem());
  expect_refusal(gate_.renew(renewal).status(), Code::kFailedPrecondition, "[door]");
}

}  // namespace
}  // namespace rubato
