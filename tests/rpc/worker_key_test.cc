// A worker's key stays with it, and what it was given is kept only when it is its own.
#include "rubato/rpc/worker_key.h"

#include "tests/rpc/pki_rig.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

TEST(WorkerKey, IsMadeOnceAndIsItsOwnersAlone) {
  TemporaryDirectory directory;
  PosixFileSystem files;
  const std::string where = directory.path() + "/new/identity";
  const auto key = WorkerKey::create_or_load(files, where);
  ASSERT_TRUE(key.ok()) << key.status();
  struct stat facts {};
  ASSERT_EQ(::stat((where + "/worker.key").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, mode_t{0600});
  const auto again = WorkerKey::create_or_load(files, where);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->public_key_digest(), key->public_key_digest());
  EXPECT_EQ(parse_request("request", *again->request_pem())->digest(), key->public_key_digest());
  ASSERT_EQ(::chmod((where + "/worker.key").c_str(), 0604), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(WorkerKey::create_or_load(files, where).status()));
}

TEST(WorkerKey, KeepsWhatItWasGiven) {
  MemoryFileSystem files;
  const Authority authority = make_authority();
  const WorkerKey key = WorkerKey::create_or_load(files, "/identity").value();
  EXPECT_FALSE(key.credentials(files)->has_value());
  const auto given = authority.sign_worker(*key.request_pem(), WorkerId(3), kNow).value();
  const auto kept = key.keep(files, given.pem, authority.certificate_pem(), kNow);
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->expires_unix_s, given.expires_unix_s);

  const WorkerKey again = WorkerKey::create_or_load(files, "/identity").value();
  const auto found = again.credentials(files);
  ASSERT_TRUE(found.ok() && found->has_value()) << found.status();
  EXPECT_EQ((*found)->certificate, given.pem);
  EXPECT_EQ((*found)->authority, authority.certificate_pem());
  EXPECT_EQ((*found)->begins_unix_s, kNow - 3600);
}

TEST(WorkerKey, KeepsATokenThatIsItsOwnersAlone) {
  MemoryFileSystem files;
  const WorkerKey key = WorkerKey::create_or_load(files, "/identity").value();
  EXPECT_FALSE(key.token(files)->has_value());
  const std::string text(32, 'q');
  ASSERT_TRUE(key.keep_token(files, {7, Secret(text)}).ok());
  EXPECT_EQ(*files.file_access("/identity/worker.token"), FileAccess::kOwner);
  files.restart(CrashKeeps::kNothing);
  const auto kept = key.token(files);
  ASSERT_TRUE(kept.ok() && kept->has_value()) << kept.status();
  EXPECT_EQ((*kept)->worker, 7);
  EXPECT_EQ((*kept)->token.reveal(), text);
  for (const std::string& wrong : {std::string(), std::string("\n"), "7" + text + "\n", "7 " + text,
                                   "-1 " + text + "\n", "x " + text + "\n", std::string("7 q\n")}) {
    ASSERT_TRUE(files.replace_private_file("/identity/worker.token", wrong).ok());
    EXPECT_TRUE(absl::IsDataLoss(key.token(files).status())) << wrong;
  }
}

TEST(WorkerKey, RenewsAfterTwoThirdsOfALife) {
  const WorkerCredentials credentials = {"", "", kNow, kNow + 300};
  EXPECT_EQ(credentials.renewal_unix_s(), kNow + 200);
  EXPECT_FALSE(credentials.renewal_is_due(kNow + 199));
  EXPECT_TRUE(credentials.renewal_is_due(kNow + 200));
}

TEST(WorkerKey, RefusesCertificatesOfOthers) {
  MemoryFileSystem files;
  const Authority authority = make_authority();
  const WorkerKey key = WorkerKey::create_or_load(files, "/identity").value();
  const auto given = authority.sign_worker(*key.request_pem(), WorkerId(3), kNow).value();
  const auto keep = [&](const std::string& certificate, const std::string& root, int64_t now) {
    return key.keep(files, certificate, root, now).status();
  };
  const auto others = authority.sign_worker(make_request(), WorkerId(3), kNow).value();
  EXPECT_THAT(std::string(keep(others.pem, authority.certificate_pem(), kNow).message()),
              HasSubstr("got a certificate of another key, want one of /identity/worker.key"));
  EXPECT_TRUE(absl::IsPermissionDenied(keep(given.pem, make_authority().certificate_pem(), kNow)));
  EXPECT_TRUE(
      absl::IsPermissionDenied(keep(given.pem, authority.certificate_pem(), kNow + 2 * kDayS)));
  EXPECT_FALSE(keep("", authority.certificate_pem(), kNow).ok());
  EXPECT_FALSE(key.credentials(files)->has_value());
}

TEST(WorkerKey, OldFilesAreNotTakenForItsOwn) {
  MemoryFileSystem files;
  const Authority authority = make_authority();
  const WorkerKey key = WorkerKey::create_or_load(files, "/identity").value();
  const auto given = authority.sign_worker(*key.request_pem(), WorkerId(3), kNow).value();
  ASSERT_TRUE(key.keep(files, given.pem, authority.certificate_pem(), kNow).ok());
  // Another authority beside it, as a crash leaves it when a worker joins another coordinator.
  ASSERT_TRUE(
      files.replace_file("/identity/authority.crt", make_authority().certificate_pem()).ok());
  EXPECT_FALSE(key.credentials(files)->has_value());
  ASSERT_TRUE(files.replace_file("/identity/authority.crt", authority.certificate_pem()).ok());
  EXPECT_TRUE(key.credentials(files)->has_value());
  // A new key beside it.
  ASSERT_TRUE(files.remove_file("/identity/worker.key").ok());
  EXPECT_FALSE(WorkerKey::create_or_load(files, "/identity")->credentials(files)->has_value());
  ASSERT_TRUE(files.replace_file("/identity/worker.crt", "damaged").ok());
  EXPECT_TRUE(absl::IsDataLoss(key.credentials(files).status()));
}

TEST(WorkerKey, WhatACrashLeavesIsUsable) {
  const Authority authority = make_authority();
  const auto join = [&](MemoryFileSystem& files) {
    const auto key = WorkerKey::create_or_load(files, "/identity");
    if (!key.ok()) return false;
    const auto given = authority.sign_worker(*key->request_pem(), WorkerId(3), kNow);
    return key->keep(files, given->pem, authority.certificate_pem(), kNow).ok();
  };
  for_crashes(
      24, [](MemoryFileSystem&) {}, join,
      [&](MemoryFileSystem& files, bool done) {
        const auto key = WorkerKey::create_or_load(files, "/identity");
        ASSERT_TRUE(key.ok()) << key.status();
        const auto found = key->credentials(files);
        ASSERT_TRUE(found.ok()) << found.status();
        EXPECT_TRUE(!done || found->has_value());
        EXPECT_TRUE(join(files));
      });
}

}  // namespace
}  // namespace rubato
