// Invitations open once, workers are let in and shut out, and the file is the truth.
#include "rubato/rpc/admission.h"

#include <set>
#include <thread>

#include "tests/rpc/pki_rig.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/rpc/crypto.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kFile[] = "/run/admission.json";
constexpr int64_t kHour = 3600;

std::string key_of(std::string_view name) { return to_hex(sha256(name)); }
std::string words(const Status& status) { return std::string(status.message()); }

class AdmissionTest : public ::testing::Test {
 protected:
  AdmissionTest() : admission_(open()) {}
  std::unique_ptr<Admission> open() { return Admission::open(files_, "/run").value(); }
  std::string invite(int64_t now = kNow) {
    return admission_->invite(now, kHour, "a label")->secret.reveal();
  }
  StatusOr<WorkerId> enrol(std::string_view secret, std::string_view key, int64_t now = kNow) {
    return admission_->enrol(secret, key_of(key), now);
  }

  MemoryFileSystem files_;
  std::unique_ptr<Admission> admission_;
};

TEST_F(AdmissionTest, ASecretLetsOneWorkerIn) {
  const std::string secret = invite();
  const auto first = enrol(secret, "one");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(*first, WorkerId(0));
  const auto second = enrol(secret, "two");
  EXPECT_TRUE(absl::IsPermissionDenied(second.status())) << second.status();
  EXPECT_EQ(*enrol(invite(), "two"), WorkerId(1));
  const auto table = admission_->list();
  ASSERT_EQ(table->workers.size(), 2u);
  EXPECT_EQ(table->workers[0].label, "a label");
  EXPECT_EQ(table->workers[0].created_unix_s, kNow);
  EXPECT_EQ(table->workers[0].key_digest, key_of("one"));
}

TEST_F(AdmissionTest, ALostAnswerMayBeAskedForAgain) {
  const std::string secret = invite();
  const WorkerId worker = *enrol(secret, "one");
  EXPECT_EQ(*enrol(secret, "one", kNow + kHour - 1), worker);
  EXPECT_TRUE(absl::IsPermissionDenied(enrol(secret, "one", kNow + kHour).status()));
  EXPECT_EQ(admission_->list()->workers.size(), 1u);
}

TEST_F(AdmissionTest, UsedAndUnknownSecretsSoundTheSame) {
  const std::string used = invite(), expired = invite();
  ASSERT_TRUE(enrol(used, "one").ok());
  const Status unknown = enrol(draw_join_secret()->reveal(), "two").status();
  EXPECT_TRUE(absl::IsPermissionDenied(unknown)) << unknown;
  EXPECT_EQ(enrol(used, "two").status(), unknown);
  EXPECT_EQ(enrol(used, "two", kNow + 2 * kHour).status(), unknown);
  EXPECT_EQ(enrol("", "two").status(), unknown);
  EXPECT_EQ(enrol(used.substr(1), "two").status(), unknown);
  EXPECT_THAT(words(enrol(expired, "two", kNow + kHour).status()), HasSubstr("has expired"));
  EXPECT_TRUE(enrol(expired, "two", kNow + kHour - 1).ok());
}

TEST_F(AdmissionTest, AKnownKeyIsTheSameWorker) {
  const WorkerId worker = *enrol(invite(), "one");
  const std::string another = invite();
  EXPECT_EQ(*enrol(another, "one"), worker);
  EXPECT_FALSE(enrol(another, "two").ok()) << "it is used";
  EXPECT_EQ(*admission_->worker_of_key(key_of("one")), worker);
  EXPECT_TRUE(absl::IsPermissionDenied(admission_->worker_of_key(key_of("two")).status()));
}

TEST_F(AdmissionTest, ARevokedWorkerStaysOut) {
  const std::string secret = invite();
  const WorkerId worker = *enrol(secret, "one");
  ASSERT_TRUE(admission_->record_certificate(worker, "0a0b", kNow + kDayS, kNow).ok());
  EXPECT_TRUE(admission_->is_allowed(worker, "0a0b"));
  EXPECT_FALSE(admission_->is_allowed(worker, "0a0c"));
  EXPECT_FALSE(admission_->is_allowed(WorkerId(9), "0a0b"));
  ASSERT_TRUE(admission_->revoke(worker).ok());
  EXPECT_TRUE(admission_->revoke(worker).ok()) << "twice is once";
  EXPECT_FALSE(admission_->is_allowed(worker, "0a0b"));
  EXPECT_TRUE(absl::IsPermissionDenied(admission_->worker_of_key(key_of("one")).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(enrol(secret, "one").status()));
  EXPECT_TRUE(
      absl::IsPermissionDenied(admission_->record_certificate(worker, "0a0d", kNow + kDayS, kNow)));
  const std::string another = invite();
  EXPECT_THAT(words(enrol(another, "one").status()), HasSubstr("got a key that was revoked"));
  EXPECT_EQ(*enrol(another, "two"), WorkerId(1)) << "the refusal used nothing up";
  EXPECT_TRUE(absl::IsNotFound(admission_->revoke(WorkerId(7))));
}

TEST_F(AdmissionTest, AWithdrawnInvitationOpensNothing) {
  const auto invited = admission_->invite(kNow, kHour, "").value();
  ASSERT_TRUE(admission_->withdraw(invited.id).ok());
  EXPECT_TRUE(absl::IsNotFound(admission_->withdraw(invited.id)));
  EXPECT_TRUE(absl::IsPermissionDenied(enrol(invited.secret.reveal(), "one").status()));
  EXPECT_NE(admission_->invite(kNow, kHour, "")->id, invited.id) << "numbers are given once";
}

TEST_F(AdmissionTest, OldInvitationsAndCertificatesAreForgotten) {
  const WorkerId worker = *enrol(invite(), "one");
  invite(kNow + 8 * kDayS);
  EXPECT_EQ(admission_->list()->invitations.size(), 1u);
  for (int i = 10; i < 30; ++i)
    ASSERT_TRUE(admission_->record_certificate(worker, cat(i), kNow + kDayS, kNow).ok());
  EXPECT_FALSE(admission_->is_allowed(worker, "13"));
  EXPECT_TRUE(admission_->is_allowed(worker, "14"));
  ASSERT_TRUE(admission_->record_certificate(worker, "aa", kNow + 3 * kDayS, kNow + kDayS).ok());
  EXPECT_EQ(admission_->list()->workers[0].certificates.size(), 1u);
  EXPECT_TRUE(absl::IsNotFound(admission_->record_certificate(WorkerId(9), "aa", kNow + 1, kNow)));
}

TEST_F(AdmissionTest, WhatCannotBeIsRefused) {
  for (const int64_t lifetime_s : {int64_t{0}, int64_t{-5}, 366 * kDayS})
    EXPECT_TRUE(absl::IsInvalidArgument(admission_->invite(kNow, lifetime_s, "").status()));
  for (const std::string& label :
       {std::string(81, 'a'), std::string("two\nlines"), std::string("\xff")})
    EXPECT_TRUE(absl::IsInvalidArgument(admission_->invite(kNow, kHour, label).status()));
  EXPECT_TRUE(admission_->invite(kNow, kHour, "Zoë's laptop").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(admission_->enrol(invite(), "none", kNow).status()));
}

TEST_F(AdmissionTest, NoSecretIsInTheFile) {
  const std::string secret = invite();
  EXPECT_THAT(*files_.read_file(kFile), Not(HasSubstr(secret)));
  ASSERT_TRUE(enrol(secret, "one").ok());
  EXPECT_THAT(*files_.read_file(kFile), Not(HasSubstr(secret)));
  EXPECT_THAT(words(enrol(secret, "two").status()), Not(HasSubstr(secret)));
}

TEST_F(AdmissionTest, AnotherProcessIsHeard) {
  const auto other = open();
  const std::string secret = other->invite(kNow, kHour, "")->secret.reveal();
  const WorkerId worker = *enrol(secret, "one");
  ASSERT_TRUE(admission_->record_certificate(worker, "0a", kNow + kDayS, kNow).ok());
  EXPECT_FALSE(*admission_->refresh()) << "nobody else changed anything";
  ASSERT_TRUE(other->revoke(worker).ok());
  EXPECT_TRUE(admission_->is_allowed(worker, "0a")) << "not yet";
  EXPECT_TRUE(*admission_->refresh());
  EXPECT_FALSE(admission_->is_allowed(worker, "0a"));
  EXPECT_EQ(*open()->list(), *admission_->list());
}

TEST_F(AdmissionTest, AFileThatDoesNotReadChangesNothing) {
  const WorkerId worker = *enrol(invite(), "one");
  ASSERT_TRUE(admission_->record_certificate(worker, "0a", kNow + kDayS, kNow).ok());
  const std::string good = *files_.read_file(kFile);
  ASSERT_TRUE(files_.replace_file(kFile, good.substr(0, good.size() / 2)).ok());
  EXPECT_TRUE(absl::IsDataLoss(admission_->refresh().status()));
  EXPECT_TRUE(absl::IsDataLoss(admission_->revoke(worker)));
  EXPECT_TRUE(absl::IsDataLoss(Admission::open(files_, "/run").status()));
  EXPECT_TRUE(admission_->is_allowed(worker, "0a"));
  ASSERT_TRUE(files_.replace_file(kFile, "").ok());
  EXPECT_TRUE(absl::IsDataLoss(Admission::open(files_, "/run").status())) << "nothing is no table";
  ASSERT_TRUE(files_.remove_file(kFile).ok());
  EXPECT_TRUE(absl::IsNotFound(admission_->revoke(worker)));
  ASSERT_TRUE(files_.replace_file(kFile, good).ok());
  EXPECT_TRUE(admission_->revoke(worker).ok());
}

TEST_F(AdmissionTest, AFullDiskChangesNothing) {
  const std::string secret = invite();
  files_.fill_after(10);
  EXPECT_TRUE(absl::IsResourceExhausted(enrol(secret, "one").status()));
  EXPECT_TRUE(admission_->list()->workers.empty());
  files_.fill_after(1 << 20);
  EXPECT_EQ(*enrol(secret, "one"), WorkerId(0));
}

TEST(Admission, WhatWasSaidSurvivesEveryCrash) {
  std::string secret;
  const auto prepare = [&](MemoryFileSystem& files) {
    secret = Admission::open(files, "/run").value()->invite(kNow, kHour, "")->secret.reveal();
  };
  const auto work = [&](MemoryFileSystem& files) {
    const auto admission = Admission::open(files, "/run");
    return admission.ok() && (*admission)->enrol(secret, key_of("one"), kNow).ok();
  };
  for_crashes(1, prepare, work, [&](MemoryFileSystem& files, bool done) {
    const auto admission = Admission::open(files, "/run");
    ASSERT_TRUE(admission.ok()) << admission.status();
    EXPECT_TRUE(!done || (*admission)->list()->workers.size() == 1);
    EXPECT_EQ(*(*admission)->enrol(secret, key_of("one"), kNow), WorkerId(0));
  });
}

// Each thread with the file to itself, as processes are; flock tells them apart.
TEST(Admission, ManyProcessesLoseNothing) {
  constexpr int kProcesses = 4, kInvitations = 10;
  TemporaryDirectory directory;
  PosixFileSystem files;
  const auto shared = Admission::open(files, directory.path()).value();
  const std::string contested = shared->invite(kNow, kHour, "contested")->secret.reveal();
  std::atomic<int> entered = 0, failed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kProcesses; ++i) {
    threads.emplace_back([&, i] {
      const auto own = Admission::open(files, directory.path()).value();
      for (int k = 0; k < kInvitations; ++k) {
        if (!own->invite(kNow, kHour, cat(i)).ok()) ++failed;
      }
      if (shared->enrol(contested, key_of(cat(i)), kNow).ok()) ++entered;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(entered, 1) << "one secret, one worker";
  ASSERT_TRUE(shared->refresh().ok());
  EXPECT_EQ(shared->list()->invitations.size(), size_t{kProcesses * kInvitations + 1});
  EXPECT_EQ(shared->list()->workers.size(), 1u);
}

}  // namespace
}  // namespace rubato
