// The authority is made once, keeps its key to itself, and signs what it says it signs.
#include "rubato/rpc/authority.h"

#include "tests/rpc/pki_rig.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "rubato/rpc/crypto.h"
#include "rubato/rpc/pem.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

constexpr char kKey[] = "/run/pki/authority.key";
constexpr char kCertificate[] = "/run/pki/authority.crt";

std::string words(const Status& status) { return std::string(status.message()); }

TEST(Authority, IsMadeOnceAndStays) {
  MemoryFileSystem files;
  const auto first = Authority::create_or_load(files, "/run", kNow);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = Authority::create_or_load(files, "/run", kNow + 300 * kDayS);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(first->fingerprint(), second->fingerprint());
  EXPECT_EQ(first->run_id(), second->run_id());
  EXPECT_TRUE(is_hex(first->run_id(), 16));
  EXPECT_NE(make_authority().run_id(), first->run_id());
  EXPECT_EQ(first->fingerprint(),
            to_hex(sha256(*pem_to_der("file", "CERTIFICATE", *files.read_file(kCertificate)))));
  EXPECT_EQ(first->certificate_pem(), *files.read_file(kCertificate));
  EXPECT_EQ(files.list("/run/pki")->size(), 2u);
}

TEST(Authority, ItsKeyIsItsOwnersAlone) {
  TemporaryDirectory directory;
  PosixFileSystem files;
  ASSERT_TRUE(Authority::create_or_load(files, directory.path(), kNow).ok());
  const std::string path = directory.path() + "/pki/authority.key";
  struct stat facts {};
  ASSERT_EQ(::stat(path.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, mode_t{0600});

  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  EXPECT_TRUE(Authority::create_or_load(files, directory.path(), kNow).ok());
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  const auto open = Authority::create_or_load(files, directory.path(), kNow);
  EXPECT_TRUE(absl::IsFailedPrecondition(open.status())) << open.status();
  EXPECT_THAT(
      words(open.status()),
      HasSubstr("authority.key: got a private key that everybody on this machine may read"));
}

TEST(Authority, WhatACrashLeavesIsCompleted) {
  std::string told;  // the fingerprint, once a call had returned it
  for_crashes(
      4, [](MemoryFileSystem&) {},
      [&](MemoryFileSystem& files) {
        const auto authority = Authority::create_or_load(files, "/run", kNow);
        told = authority.ok() ? authority->fingerprint() : "";
        return authority.ok();
      },
      [&](MemoryFileSystem& files, bool done) {
        const auto authority = Authority::create_or_load(files, "/run", kNow);
        ASSERT_TRUE(authority.ok()) << authority.status();
        EXPECT_TRUE(!done || authority->fingerprint() == told);
        EXPECT_EQ(*files.file_access(kKey), FileAccess::kOwner);
        EXPECT_EQ(files.list("/run/pki")->size(), 2u);
      });
}

TEST(Authority, DamagedOrMixedUpFilesAreNamed) {
  MemoryFileSystem files, other;
  ASSERT_TRUE(Authority::create_or_load(files, "/run", kNow).ok());
  ASSERT_TRUE(Authority::create_or_load(other, "/run", kNow).ok());
  const std::string key = *files.read_file(kKey);
  const std::string certificate = *files.read_file(kCertificate);
  const auto load = [&] {
    const Status status = Authority::create_or_load(files, "/run", kNow).status();
    EXPECT_THAT(words(status), testing::AnyOf(HasSubstr(kKey), HasSubstr(kCertificate)));
    return status;
  };
  const auto put = [&](const char* path, std::string_view bytes) {
    ASSERT_TRUE(files.replace_private_file(path, bytes).ok());
  };
  put(kCertificate, *other.read_file(kCertificate));
  EXPECT_THAT(words(load()), HasSubstr("got a certificate of another key"));
  put(kCertificate, certificate.substr(0, 100));
  EXPECT_TRUE(absl::IsDataLoss(load()));
  // The signature's last byte.
  put(kCertificate, with_flipped_byte("CERTIFICATE", certificate, 0));
  EXPECT_TRUE(absl::IsFailedPrecondition(load()));
  put(kCertificate, certificate);
  put(kKey, "");
  EXPECT_TRUE(absl::IsDataLoss(load()));
  put(kKey, cat(key, key));
  EXPECT_TRUE(absl::IsDataLoss(load()));
  ASSERT_TRUE(files.remove_file(kKey).ok());
  EXPECT_THAT(words(load()), HasSubstr("got no key, want the one of /run/pki/authority.crt;"));
  put(kKey, key);
  EXPECT_TRUE(Authority::create_or_load(files, "/run", kNow).ok());
}

TEST(Authority, SignsServersForTheirNames) {
  const Authority authority = make_authority();
  const auto root = Certificate::parse("authority", authority.certificate_pem()).value();
  const auto server = authority.issue_server({"train.example.org", "10.1.2.3", "fd00::7"}, kNow);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(server->expires_unix_s, kNow + kServerCertificateS);
  ASSERT_TRUE(server->chain.ends_with(authority.certificate_pem()));
  const auto certificate = Certificate::parse(
      "server", std::string_view(server->chain)
                    .substr(0, server->chain.size() - authority.certificate_pem().size()));
  ASSERT_TRUE(certificate.ok()) << certificate.status();
  const auto key = PrivateKey::parse("key", server->private_key.reveal());
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_TRUE(certificate->is_of(key->public_key()));
  const auto check = [&](std::string_view host, CertificateRole role = CertificateRole::kServer) {
    return certificate->check("server", root, role, host, kNow);
  };
  for (const char* host : {"rubato-coordinator", "localhost", "train.example.org"})
    EXPECT_TRUE(check(host).ok()) << check(host);
  EXPECT_TRUE(absl::IsPermissionDenied(check("other.example.org")));
  EXPECT_TRUE(absl::IsPermissionDenied(check("", CertificateRole::kClient)));
  EXPECT_TRUE(absl::IsPermissionDenied(check("", CertificateRole::kAuthority)));
  EXPECT_NE(authority.issue_server({}, kNow)->private_key.reveal(), server->private_key.reveal());
  for (const char* host : {"", "a,DNS:b", "*.example.org", "[::1]", "Example.org"})
    EXPECT_TRUE(absl::IsInvalidArgument(authority.issue_server({host}, kNow).status())) << host;
}

TEST(Authority, SignsWorkersForADay) {
  const Authority authority = make_authority();
  const auto signed_worker = authority.sign_worker(make_request(), WorkerId(12), kNow);
  ASSERT_TRUE(signed_worker.ok()) << signed_worker.status();
  EXPECT_EQ(signed_worker->expires_unix_s, kNow + kDayS);
  const auto certificate = Certificate::parse("worker", signed_worker->pem).value();
  EXPECT_EQ(certificate.common_name(), "worker-12");
  EXPECT_EQ(certificate.organization(), authority.run_id());
  EXPECT_EQ(certificate.not_before_unix_s(), kNow - 3600);

  const auto who = authority.worker_of_certificate(signed_worker->pem, kNow);
  ASSERT_TRUE(who.ok()) << who.status();
  EXPECT_EQ(who->worker, WorkerId(12));
  EXPECT_EQ(who->serial, signed_worker->serial);
  EXPECT_EQ(who->expires_unix_s, signed_worker->expires_unix_s);
  EXPECT_NE(authority.sign_worker(make_request(), WorkerId(12), kNow)->serial,
            signed_worker->serial);
}

TEST(Authority, RefusesCertificatesOfOthersAndOtherTimes) {
  const Authority authority = make_authority(), other = make_authority();
  const auto refused = [&](const std::string& pem, int64_t now, std::string_view got) {
    const auto who = authority.worker_of_certificate(pem, now);
    EXPECT_TRUE(absl::IsPermissionDenied(who.status())) << who.status();
    EXPECT_THAT(words(who.status()), HasSubstr(std::string(got)));
  };
  const auto mine = authority.sign_worker(make_request(), WorkerId(1), kNow).value();
  EXPECT_TRUE(authority.worker_of_certificate(mine.pem, kNow + kDayS - 1).ok());
  refused(mine.pem, kNow + kDayS + 1, "is the clock of this machine right?");
  refused(mine.pem, kNow - 2 * 3600, "is the clock of this machine right?");
  refused(other.sign_worker(make_request(), WorkerId(1), kNow)->pem, kNow, "does not hold");
  refused(with_flipped_byte("CERTIFICATE", mine.pem, 0), kNow, "does not hold");
  refused(authority.certificate_pem(), kNow, "got an authority's certificate");
  const std::string chain = authority.issue_server({}, kNow)->chain;
  refused(chain.substr(0, chain.size() - authority.certificate_pem().size()), kNow,
          "does not hold");
  EXPECT_FALSE(authority.worker_of_certificate(chain, kNow).ok());
  EXPECT_FALSE(authority.worker_of_certificate("", kNow).ok());
}

TEST(Authority, NamesThatAreNoWorkersAreRefused) {
  // By somebody who has the key but not this program.
  const PrivateKey key = make_key();
  MemoryFileSystem files;
  const auto put = [&](const char* path, std::string_view bytes) {
    ASSERT_TRUE(files.replace_private_file(path, bytes).ok());
  };
  const CertificateTerms root_terms = {
      CertificateRole::kAuthority, "root", "run", {}, kNow - 9, kNow + kDayS};
  const auto root = Certificate::self_signed(root_terms, key).value();
  ASSERT_TRUE(files.make_directories("/run/pki").ok());
  put(kKey, key.pem()->reveal());
  put(kCertificate, root.pem());
  const auto authority = Authority::create_or_load(files, "/run", kNow);
  ASSERT_TRUE(authority.ok()) << authority.status();
  const auto identify = [&](const std::string& name, const std::string& organization) {
    const CertificateTerms terms = {
        CertificateRole::kClient, name, organization, {}, kNow, kNow + 60};
    const auto made = Certificate::issue(terms, make_key().public_key(), root, key).value();
    return authority->worker_of_certificate(made.pem(), kNow).status();
  };
  EXPECT_TRUE(identify("worker-7", "run").ok());
  EXPECT_THAT(words(identify("worker-7", "another")), HasSubstr("got one of nobody here"));
  for (const char* name : {"worker-", "worker-07", "worker--1", "worker-7x", "Worker-7", "7",
                           "worker-99999999999999999999"})
    EXPECT_TRUE(absl::IsPermissionDenied(identify(name, "run"))) << name;
}

TEST(Authority, ARequestIsItsKeyAndNothingElse) {
  const Authority authority = make_authority();
  const auto root = Certificate::parse("authority", authority.certificate_pem()).value();
  const std::string request =
      request_of(ec_key("P-384"), {.common_name = "worker-0", .wants_to_sign = true});
  const auto signed_worker = authority.sign_worker(request, WorkerId(5), kNow);
  ASSERT_TRUE(signed_worker.ok()) << signed_worker.status();
  EXPECT_EQ(authority.worker_of_certificate(signed_worker->pem, kNow)->worker, WorkerId(5));
  const auto certificate = Certificate::parse("worker", signed_worker->pem).value();
  EXPECT_FALSE(certificate.check("worker", root, CertificateRole::kServer, "", kNow).ok());
  EXPECT_FALSE(certificate.check("worker", root, CertificateRole::kAuthority, "", kNow).ok());
}

TEST(Authority, KeysOfOtherKindsAreRefused) {
  const Authority authority = make_authority();
  const auto sign = [&](const Key& key) {
    return authority.sign_worker(request_of(key), WorkerId(0), kNow).status();
  };
  for (const Key& key : {ec_key("P-256"), ec_key("P-384"), ed25519_key(), rsa_key(2048)})
    EXPECT_TRUE(sign(key).ok()) << sign(key);
  for (const Key& key : {ec_key("P-521"), ec_key("P-224"), ec_key("secp256k1"), rsa_key(1024),
                         ec_key_with_explicit_curve()}) {
    EXPECT_TRUE(absl::IsPermissionDenied(sign(key)));
    EXPECT_THAT(words(sign(key)), HasSubstr("a key that is not accepted, want EC on P-256 or"));
  }
}

TEST(Authority, RequestsThatDoNotHoldAreRefused) {
  const Authority authority = make_authority();
  const std::string request = make_request();
  const auto sign = [&](const std::string& pem) {
    return authority.sign_worker(pem, WorkerId(0), kNow).status();
  };
  EXPECT_TRUE(absl::IsPermissionDenied(sign(with_flipped_byte("CERTIFICATE REQUEST", request, 0))));
  EXPECT_THAT(words(sign(with_flipped_byte("CERTIFICATE REQUEST", request, 0))),
              HasSubstr("with a wrong signature"));
  for (const std::string& pem :
       {std::string(), std::string("no PEM"), request + request, request + "x", "x" + request,
        request.substr(0, request.size() / 2), authority.certificate_pem(),
        std::string(70'000, '\n') + request, make_key().pem()->reveal()})
    EXPECT_TRUE(absl::IsInvalidArgument(sign(pem))) << sign(pem);
  EXPECT_TRUE(sign("\n " + request + "\n").ok());
  for (const int64_t validity_s : {int64_t{0}, int64_t{-1}, 91 * kDayS})
    EXPECT_TRUE(absl::IsInvalidArgument(
        authority.sign_worker(request, WorkerId(0), kNow, validity_s).status()));
}

TEST(Authority, NothingOutlivesIt) {
  const Authority authority = make_authority();
  const int64_t end = kNow + kAuthorityCertificateS;
  EXPECT_EQ(authority.sign_worker(make_request(), WorkerId(0), end - 60)->expires_unix_s, end);
  EXPECT_EQ(authority.issue_server({}, end - 60)->expires_unix_s, end);
}

}  // namespace
}  // namespace rubato
